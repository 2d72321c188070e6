"""The comparison of a carried vector with unrelated directions of the source by the same route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.interventions.transfer.slopes import RefitSpread, SlopeMeter
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, discover
from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.unrelated import UnrelatedDirections, upper_quantile_rank
from ioi_lab.transfer.vectors import VectorTransfer, cosine, with_norm_of


@dataclass(frozen=True)
class UnrelatedControls:
    """Unrelated directions of one kind by the carried vector's route and at its norm."""

    key: Literal["prompts", "names"]
    noun: str
    """The noun, in the plural, for them."""

    names: list[str]
    slopes: Float[Array, "direction prompt"]
    cosines: Float[Array, "direction"]
    """The cosines with the carried vector."""

    rank: int
    """The rank of the carried vector's slope among theirs: 1 if it is the steepest."""

    quantile: float
    """The slope that a further direction of this kind exceeds with a chance of at most 2.5 %: the 97.5 % quantile."""

    margin: Estimate
    """The mean difference between the slopes of the carried vector and of the direction at the quantile."""

    n_found: int | None
    """The number of directions that steer at all: whose slope is distinguishable from 0, corrected for their number.
    None without tests."""

    @property
    def mean_slopes(self) -> Float[Array, "direction"]:
        """The mean of each direction's slopes over prompts."""
        means: Array = self.slopes.mean(axis=1)
        return means

    @property
    def is_exceeded(self) -> bool:
        """Whether the carried vector is steeper than the quantile, with the whole interval of the difference."""
        return bool(self.margin.exceeds()[0])


def measure_unrelated(
    transfer: VectorTransfer,
    directions: UnrelatedDirections,
    carried_slopes: Float[Array, "prompt"],
    meter: SlopeMeter,
    spread: RefitSpread,
) -> UnrelatedControls:
    """Carry directions of one kind into the best layer, and steer with them.

    Args:
        transfer: The carried vector, its route and its pair of layers.
        directions: The directions in the layer of the source.
        carried_slopes: The slopes of the carried vector.
        meter: Measures slopes in the layer of the target.
        spread: The spread of the carried vector's slope over refits.

    """
    bootstrap = transfer.target.on_prompts.held_out.bootstrap
    carried = transfer.route.carry(transfer.best)
    images = [with_norm_of(transfer.route.image(vector, transfer.best), carried) for vector in directions.vectors]
    slopes = meter.slopes(images)
    means = slopes.mean(axis=1)
    at_quantile = int(np.argsort(means, kind="stable")[upper_quantile_rank(len(means)) - 1])
    margin = bootstrap.mean((carried_slopes - slopes[at_quantile])[None])
    not_found = discover(slopes, np.ones_like(slopes[:1]), bootstrap, ROUNDING).not_found
    return UnrelatedControls(
        key=directions.key,
        noun=directions.noun,
        names=directions.names,
        slopes=slopes,
        cosines=np.array([cosine(image, carried) for image in images]),
        rank=1 + int((means >= carried_slopes.mean()).sum()),
        quantile=float(means[at_quantile]),
        margin=spread.widened(margin, spread.slope),
        n_found=None if not_found is None else int((~not_found).sum()),
    )
