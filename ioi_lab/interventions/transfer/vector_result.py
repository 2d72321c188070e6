"""The numbers of one direction of transferring steering vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.interventions.transfer.agreement import VectorAgreement
from ioi_lab.interventions.transfer.by_prompt import ByPrompt
from ioi_lab.interventions.transfer.pair_slopes import PairSlopes
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.contrasts import ContrastName
from ioi_lab.tasks.prompts import Position


@dataclass(frozen=True)
class VectorRows:
    """The rows of one vector, one per scale."""

    name: str
    source_layer: int | None
    layer: int
    norm: float
    estimates: dict[str, Estimate]
    """Each metric of `results.csv`, and `flipped`: the share of prompts whose preferred name changes."""


@dataclass(frozen=True)
class StrongestScale:
    """The scale at which a vector flips most prompts; of several such scales, the smallest."""

    scale: float
    flipped: Estimate
    logit_diff: Estimate


@dataclass(frozen=True)
class SharedTokens:
    """The tokens that the two vocabularies share."""

    n_tokens: int
    mass: float
    """The share of the vector's Σ|logit − mean logit| that lies on shared tokens."""

    penalty: float
    """The ridge penalty with the least error at left-out tokens."""

    r2: float
    """The share of the variance at left-out tokens that the regression explains."""


@dataclass(frozen=True)
class LayerSlopes:
    """The slopes of the carried vectors by pair of layers, and of the native ones."""

    source_layers: list[int]
    layers: list[int]
    carried: Float[Array, "source_layer layer"]
    native: Float[Array, "layer"]
    carried_not_found: Bool[NDArray[np.bool_], "source_layer layer"] | None
    """The slopes that are not distinguishable from 0, corrected for their number; None without tests."""

    native_not_found: Bool[NDArray[np.bool_], "layer"] | None


@dataclass(frozen=True)
class DrawnControls:
    """The controls that are drawn at random, such as random maps."""

    count: int
    noun: str
    """The noun, in the plural, for them."""

    logit_diff: Float[Array, "scale"]
    """The mean over them."""

    band: tuple[Float[Array, "scale"], Float[Array, "scale"]]
    """The bounds within which a further one would lie with 95 %."""


@dataclass(frozen=True)
class VectorTransferResult:
    """The numbers of one direction, measured on the held-out prompts of the model that is steered.

    Slopes are those of the logit difference per unit of scale. They are taken over those scales of the native vector's
    linear range, in the same layer, whose opposites are in the range too. `best` is the pair of layers in which each
    model's own vector is steepest, on the training prompts. All intervals but those of `slopes` are over the held-out
    prompts alone.
    """

    source: str
    target: str
    method: str
    """The method that made the vectors."""

    contrast: ContrastName
    names: tuple[str, str]
    """The names of the contrast `name_pair`."""

    component: str
    position: Position
    scales: list[float]
    n_prompts: int
    n_training_prompts: int
    n_dropped_prompts: int
    rows: list[VectorRows]
    """The native vectors by layer, the carried ones by pair of layers, then the vectors of the best pair: the carried
    one at the native vector's norm, and controls."""

    by_prompt: ByPrompt
    """The readout behind `rows`, in their order, scale by scale."""

    by_layers: LayerSlopes
    best: PairOfLayers
    slopes: PairSlopes
    """Those of the best pair."""

    agreement: VectorAgreement
    """How far the vectors of the best pair move the same prompts."""

    cosine_to_native: float
    norm: float
    native_norm: float
    native: VectorRows
    """The rows of the native vector in the best layer."""

    carried: VectorRows
    """The rows of the carried vector of the best pair."""

    at_native_norm: VectorRows
    """The rows of the carried vector of the best pair at the native vector's norm."""

    mean_shift: VectorRows | None
    """The rows of the control that shifts means, if there is one."""

    native_strongest: StrongestScale
    carried_strongest: StrongestScale
    n_controls: int
    """The number of controls that are drawn at random, and the mean shift, if there is one."""

    drawn: DrawnControls
    band_at_strongest: tuple[float, float]
    """The band of drawn controls at the strongest scale of the carried vector."""

    control_flipped_highest: float
    """The largest share of prompts that a control flips at the strongest scale of the carried vector."""

    map_r2: float | None
    """The R² of the best pair's map on held-out texts."""

    shared_tokens: SharedTokens | None
    """The tokens that the vocabularies share, if vectors go through the vocabulary."""

    @property
    def name(self) -> str:
        """The direction, such as `tiny-gpt2 → tiny-pythia`."""
        return f"{self.source} → {self.target}"
