"""What another concept does by the route of a carried vector: whether it steers the target's prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ioi_lab.interventions.transfer.slopes import RefitSpread, SlopeMeter
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.mismatch import mismatched_vectors
from ioi_lab.transfer.vectors import VectorTransfer, cosine, with_norm_of


@dataclass(frozen=True)
class MismatchedConcepts:
    """Vectors of other contrasts by the carried vector's route and at its norm, a row for each; there may be none."""

    names: list[str]
    """The contrasts that they are made by."""

    slopes: Float[Array, "concept prompt"]
    cosines: Float[Array, "concept"]
    """The cosines with the carried vector."""

    slope: Estimate
    """The mean slopes, with intervals over the held-out prompts."""

    share: Estimate
    """The slopes as shares of the native one."""

    margin: Estimate
    """The mean differences between the slopes of the carried vector and of each concept."""

    @property
    def steering(self) -> list[str]:
        """The concepts whose slope differs from 0 with its whole interval."""
        return [name for name, steers in zip(self.names, self.slope.differs(), strict=True) if steers]

    @property
    def unbeaten(self) -> list[str]:
        """The concepts that the carried vector is not shown to exceed."""
        return [name for name, beaten in zip(self.names, self.margin.exceeds(), strict=True) if not beaten]


def measure_mismatched(
    transfer: VectorTransfer,
    slopes: tuple[Float[Array, "prompt"], Float[Array, "prompt"]],
    meter: SlopeMeter,
    spread: RefitSpread,
) -> MismatchedConcepts:
    """Carry the vectors of other contrasts into the best layer, and steer with them.

    Args:
        transfer: The carried vector, its route and its pair of layers.
        slopes: The slopes of the carried and of the native vector.
        meter: Measures slopes in the layer of the target.
        spread: The spread of the carried vector's slope over refits.

    """
    bootstrap, (carried_slopes, native_slopes) = transfer.target.on_prompts.held_out.bootstrap, slopes
    carried = transfer.route.carry(transfer.best)
    images = {
        name: with_norm_of(transfer.route.image(vector, transfer.best), carried)
        for name, vector in mismatched_vectors(transfer.source, transfer.best[0]).items()
    }
    values = meter.slopes(list(images.values()))
    return MismatchedConcepts(
        names=list(images),
        slopes=values,
        cosines=np.array([cosine(image, carried) for image in images.values()]),
        slope=bootstrap.mean(values),
        share=bootstrap.ratio(values, native_slopes[None]),
        margin=spread.widened(bootstrap.mean(carried_slopes[None] - values), spread.slope),
    )
