"""The slope of each site's response next to the scale 0, by which sites are ranked, tested and compared at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, Discoveries, discover
from ioi_lab.stats.metrics import Array
from ioi_lab.stats.responses import initial_slopes, scales_next_to_zero

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


@dataclass(frozen=True)
class InitialSlopes:
    """Slopes through the scale 0 and the measured scales next to it, which are the same for all sites."""

    scales: list[float]
    """The measured scale next to 0 on each side; only one if all scales are on one side of 0."""

    slope: Estimate
    """The mean over prompts, per unit of scale, a row per site."""

    discoveries: Discoveries
    """Which of the slopes are distinguishable from 0, corrected for the number of sites."""

    @classmethod
    def measure(
        cls,
        engine: Engine,
        scales: Sequence[float],
        values: Float[Array, "site scale prompt"],
        unsteered: Float[Array, "prompt"],
    ) -> InitialSlopes:
        """Return the slopes of the responses `values` at `scales`."""
        near = scales_next_to_zero(scales)
        rows = [list(scales).index(scale) for scale in near]
        by_prompt = np.stack([initial_slopes(near, response[rows], unsteered) for response in values])
        span = float(np.ptp([0.0, *near])) or 1.0
        gap = np.ones_like(by_prompt[:1])
        return cls(
            scales=near,
            slope=engine.bootstrap.mean(by_prompt),
            discoveries=discover(by_prompt, gap, engine.bootstrap, ROUNDING / span),
        )
