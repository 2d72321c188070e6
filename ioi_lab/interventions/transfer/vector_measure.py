"""One direction of transferring steering vectors: how much of the native effect transfers, and whether controls do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.baselines import estimates_of
from ioi_lab.interventions.self_checks import SelfChecks, checked_run
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.stats.responses import Response, prediction_band, slopes
from ioi_lab.steering.contrasts import ContrastName
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.vectors import (
    CARRIED,
    NATIVE,
    SHIFT,
    SteeringVector,
    ThroughVocabulary,
    VectorTransfer,
    cosine,
)


@dataclass(frozen=True)
class VectorOptions:
    """The options for making, transferring and comparing steering vectors."""

    through: Literal["maps", "vocabulary"]
    method: str
    contrast: ContrastName
    names: tuple[str, str]
    scales: list[float]
    n_controls: int


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


@dataclass(frozen=True)
class VectorTransferResult:
    """The numbers of one direction, measured on the held-out prompts of the model that is steered.

    Slopes are those of the logit difference per unit of scale, over the linear range of the native response in the same
    layer. `best` is the pair of layers that was chosen on the training prompts.
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
    """The native vectors by layer, the carried ones by pair of layers, and the controls of the best pair."""

    source_layers: list[int]
    layers: list[int]
    best: PairOfLayers
    native_slopes: Float[Array, "layer"]
    carried_slopes: Float[Array, "source_layer layer"]
    linear_scales: tuple[float, float]
    """The ends of the linear range of the native response in the best layer."""

    native_slope: Estimate
    slope: Estimate
    """The slope of the carried vector of the best pair."""

    share_of_native: Estimate
    """The ratio of the carried vector's slope to the native one's."""

    native_steers: bool
    """Whether the native slope lies above 0 with its whole interval, so that there is an effect to have a share of."""

    cosine_to_native: float
    norm: float
    native_norm: float
    native: VectorRows
    """The rows of the native vector in the best layer."""

    carried: VectorRows
    """The rows of the carried vector of the best pair."""

    mean_shift: VectorRows | None
    """The rows of the control that shifts means, if there is one."""

    native_strongest: StrongestScale
    carried_strongest: StrongestScale
    n_controls: int
    n_drawn_controls: int
    """The number of controls that are drawn at random."""

    control_noun: str
    """The noun for the drawn controls, such as `random maps`."""

    drawn_logit_diff: Float[Array, "scale"]
    """The mean logit difference of the drawn controls."""

    band: tuple[Float[Array, "scale"], Float[Array, "scale"]]
    """The bounds within which a further drawn control would lie with 95 %."""

    band_at_strongest: tuple[float, float]
    """The band at the strongest scale of the carried vector."""

    steepest_control_slope: float
    margin_over_steepest_control: Estimate
    """The mean difference between the slopes of the carried vector and of the steepest control."""

    beats_controls: bool
    """Whether the carried vector is steeper than every control, with the whole interval of the difference."""

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


def measure_vector_transfer(
    transfer: VectorTransfer, options: VectorOptions, r2: Mapping[PairOfLayers, float] | None
) -> tuple[VectorTransferResult, SelfChecks]:
    """Steer the target's held-out prompts with every vector at every scale; `r2` are the R² of the maps, if any."""
    engine = transfer.target.on_prompts.held_out
    scales = options.scales
    readout, checks = checked_run(engine, transfer.edit_sets(scales), "clean")
    starts = range(0, len(transfer.vectors) * len(scales), len(scales))
    readouts = [readout.select(slice(start, start + len(scales))) for start in starts]
    return _Measured(transfer, options, engine, readouts, r2).result(), checks


@dataclass(frozen=True)
class _Measured:
    """The readouts of the steered prompts, from which the result is derived: one per vector, one row per scale."""

    transfer: VectorTransfer
    options: VectorOptions
    engine: Engine
    readouts: list[Readout]
    r2: Mapping[PairOfLayers, float] | None

    def result(self) -> VectorTransferResult:
        transfer, engine, best = self.transfer, self.engine, self.transfer.best
        vectors, contrast = transfer.vectors, transfer.target.on_prompts.contrast
        rows = [self._rows(vector, readout) for vector, readout in zip(vectors, self.readouts, strict=True)]
        native = {each.layer: index for index, each in enumerate(vectors) if each.name == NATIVE}
        carried = {(each.source_layer, each.layer): index for index, each in enumerate(vectors) if each.name == CARRIED}
        controls = [index for index, each in enumerate(vectors) if each.name not in (NATIVE, CARRIED)]
        drawn = [index for index in controls if vectors[index].name.startswith(transfer.route.drawn_prefix)]
        at_native, at_carried = native[best[1]], carried[best]

        responses = {layer: self._response(index) for layer, index in native.items()}
        carried_slopes = {pair: self._slopes(index, responses[pair[1]]) for pair, index in carried.items()}
        shares = engine.bootstrap.ratio(
            np.stack(list(carried_slopes.values())), np.stack([responses[layer].slopes for _, layer in carried_slopes])
        )
        best_row = list(carried).index(best)
        native_slope = engine.bootstrap.mean(responses[best[1]].slopes[None])
        control_slopes = [self._slopes(index, responses[best[1]]) for index in controls]
        control_means = np.stack([values.mean() for values in control_slopes])
        steepest = int(control_means.argmax())
        margins = engine.bootstrap.mean(np.stack([carried_slopes[best] - control for control in control_slopes]))

        drawn_means = np.stack([self.readouts[index].logit_diff.mean(axis=1) for index in drawn])
        band = prediction_band(drawn_means)
        strongest = self._strongest_row(rows[at_carried])
        return VectorTransferResult(
            source=transfer.source.on_prompts.name,
            target=transfer.target.on_prompts.name,
            method=self.options.method,
            contrast=self.options.contrast,
            names=self.options.names,
            component=transfer.target.component,
            position=transfer.target.position,
            scales=self.options.scales,
            n_prompts=len(engine.prompts),
            n_training_prompts=len(contrast.training),
            n_dropped_prompts=contrast.n_dropped,
            rows=rows,
            source_layers=list(transfer.source.vectors),
            layers=list(transfer.target.vectors),
            best=best,
            native_slopes=np.array([response.slopes.mean() for response in responses.values()]),
            carried_slopes=np.array([values.mean() for values in carried_slopes.values()]).reshape(-1, len(responses)),
            linear_scales=(responses[best[1]].linear_scales[0], responses[best[1]].linear_scales[-1]),
            native_slope=native_slope,
            slope=engine.bootstrap.mean(carried_slopes[best][None]),
            share_of_native=shares.rows(slice(best_row, best_row + 1)),
            native_steers=bool(native_slope.exceeds()[0]),
            cosine_to_native=cosine(vectors[at_carried].vector, vectors[at_native].vector),
            norm=rows[at_carried].norm,
            native_norm=rows[at_native].norm,
            native=rows[at_native],
            carried=rows[at_carried],
            mean_shift=next((row for row in rows if row.name == SHIFT), None),
            native_strongest=self._strongest(rows[at_native]),
            carried_strongest=self._strongest(rows[at_carried]),
            n_controls=len(controls),
            n_drawn_controls=len(drawn),
            control_noun=transfer.route.control_noun,
            drawn_logit_diff=drawn_means.mean(axis=0),
            band=band,
            band_at_strongest=(float(band[0][strongest]), float(band[1][strongest])),
            steepest_control_slope=float(control_means[steepest]),
            margin_over_steepest_control=margins.rows(slice(steepest, steepest + 1)),
            beats_controls=bool(margins.exceeds().all()),
            control_flipped_highest=float(max(rows[index].estimates["flipped"].value[strongest] for index in controls)),
            map_r2=None if self.r2 is None else self.r2[best],
            shared_tokens=self._shared_tokens(),
        )

    def _rows(self, vector: SteeringVector, readout: Readout) -> VectorRows:
        estimates = estimates_of(self.engine, readout) | {"flipped": self._flipped(readout)}
        return VectorRows(vector.name, vector.source_layer, vector.layer, vector.norm, estimates)

    def _flipped(self, readout: Readout) -> Estimate:
        clean = self.engine.baseline("clean")
        return self.engine.bootstrap.share(np.abs(readout.correct - clean.correct))

    def _response(self, index: int) -> Response:
        """Return the logit difference by scale."""
        unsteered = self.engine.baseline("clean").logit_diff[0]
        return Response.of(self.options.scales, self.readouts[index].logit_diff, unsteered)

    def _slopes(self, index: int, native: Response) -> Float[Array, "prompt"]:
        return slopes(native.linear_scales, self._response(index).values[native.linear.rows])

    def _strongest_row(self, rows: VectorRows) -> int:
        return int(np.lexsort((-np.abs(self.options.scales), rows.estimates["flipped"].value))[-1])

    def _strongest(self, rows: VectorRows) -> StrongestScale:
        at = self._strongest_row(rows)
        flipped, logit_diff = (rows.estimates[name].rows(slice(at, at + 1)) for name in ("flipped", "logit_diff"))
        return StrongestScale(self.options.scales[at], flipped, logit_diff)

    def _shared_tokens(self) -> SharedTokens | None:
        route = self.transfer.route
        if not isinstance(route, ThroughVocabulary):
            return None
        vector = self.transfer.source.vectors[self.transfer.best[0]]
        return SharedTokens(len(route.translator.shared.source), route.translator.shared_mass(vector))
