"""Random directions, which show how much any direction of the same norm moves the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ioi_lab.interventions.steer.flips import estimates_with_flips
from ioi_lab.interventions.steer.steps import Step
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.stats.responses import inside_the_others_band, prediction_band
from ioi_lab.steering.methods import random_direction
from ioi_lab.steering.vectors import add_direction

if TYPE_CHECKING:
    from ioi_lab.engine.edits import EditSet
    from ioi_lab.engine.engine import Engine


@dataclass(frozen=True)
class Controls:
    """Random directions of the same norm at the best site. Rows go direction by direction, then scale by scale."""

    readout: Readout

    estimates: dict[str, Estimate]
    """Each metric of `results.csv`, and the share of prompts that flip."""

    means: Float[Array, "direction scale"]
    """Mean logit differences."""

    middle: Float[Array, "scale"]
    """The mean over directions."""

    low: Float[Array, "scale"]
    """The lower end of the band in which a further random direction lies with a probability of 95 %."""

    high: Float[Array, "scale"]
    """The upper end of the band."""

    lowest: Float[Array, "scale"]
    """The lowest mean logit difference of a random direction."""

    highest: Float[Array, "scale"]
    """The highest mean logit difference of a random direction."""

    highest_flipped: Float[Array, "scale"]
    """The largest share of prompts that a random direction flips."""

    share_inside: float
    """The share of random directions, over all scales but 0, that lie in the band of the others."""

    def includes(self, logit_diff: float, scale: int) -> bool:
        """Return whether a mean logit difference lies in the band at the scale with this index."""
        return bool(self.low[scale] <= logit_diff <= self.high[scale])


def measure_controls(
    held_out: Engine, step: Step, signs: Sequence[int], scales: Sequence[float], count: int, seed: Sequence[int]
) -> Controls:
    """Steer with random directions instead of the step's own.

    Args:
        held_out: The engine on the steered prompts.
        step: The step whose site and norms the random directions have.
        signs: For each prompt, 1 if it is pushed along the direction and −1 if it is pushed against it.
        scales: The scales.
        count: The number of directions.
        seed: Draws the directions.

    """
    lengths = np.array(signs) * step.norms
    plan: list[EditSet] = []
    for index in range(count):
        direction = random_direction(1.0, step.directions.shape[1], [*seed, index])
        plan += add_direction(step.site, np.outer(lengths, direction), scales)
    readout = held_out.run(plan, "clean")
    estimates = estimates_with_flips(held_out, readout)
    means = readout.logit_diff.mean(axis=1).reshape(count, len(scales))
    low, high = prediction_band(means)
    moving = [index for index, scale in enumerate(scales) if scale != 0]
    return Controls(
        readout=readout,
        estimates=estimates,
        means=means,
        middle=means.mean(axis=0),
        low=low,
        high=high,
        lowest=means.min(axis=0),
        highest=means.max(axis=0),
        highest_flipped=estimates["flipped"].value.reshape(means.shape).max(axis=0),
        share_inside=float(inside_the_others_band(means)[:, moving].mean()) if moving else 1.0,
    )
