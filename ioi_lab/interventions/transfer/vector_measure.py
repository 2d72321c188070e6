"""One direction of transferring steering vectors: how much of the native effect transfers, and whether controls do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.baselines import estimates_of
from ioi_lab.interventions.self_checks import SelfChecks, checked_run
from ioi_lab.interventions.transfer.agreement import Effects, VectorAgreement
from ioi_lab.interventions.transfer.by_prompt import ByPrompt
from ioi_lab.interventions.transfer.pair_slopes import measure_pair_slopes
from ioi_lab.interventions.transfer.slopes import SlopeMeter, slope_scales, slopes_over
from ioi_lab.interventions.transfer.vector_result import (
    DrawnControls,
    LayerSlopes,
    SharedTokens,
    StrongestScale,
    VectorRows,
    VectorTransferResult,
)
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, discover
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.stats.responses import Response, prediction_band
from ioi_lab.steering.contrasts import ContrastName
from ioi_lab.transfer.translators import Translation
from ioi_lab.transfer.unrelated import UnrelatedDirections
from ioi_lab.transfer.vectors import (
    AT_NATIVE_NORM,
    CARRIED,
    NATIVE,
    SHIFT,
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
    n_unrelated: int
    """The number of unrelated directions of each kind."""

    seed: int
    """Draws the unrelated directions, and the samples of prompts that vectors are made from again."""

    translation: Translation = "logits"
    """The way through the vocabulary."""


def measure_vector_transfer(
    transfer: VectorTransfer,
    options: VectorOptions,
    r2: Mapping[PairOfLayers, float] | None,
    directions: Sequence[UnrelatedDirections],
) -> tuple[VectorTransferResult, SelfChecks]:
    """Steer the target's held-out prompts with every vector; `r2` are the R² of the maps, if any.

    `directions`: unrelated directions in the best layer of the source. Native and carried vectors and the controls of
    the route are added at every scale, unrelated directions, other concepts and refitted vectors at those of the native
    vector's linear range.
    """
    engine = transfer.target.on_prompts.held_out
    readout, checks = checked_run(engine, transfer.edit_sets(options.scales), "clean")
    return _Measured(transfer, options, engine, readout, r2, directions).result(), checks


@dataclass(frozen=True)
class _Measured:
    """The readout of the steered prompts, from which the result is derived: a row per vector and scale."""

    transfer: VectorTransfer
    options: VectorOptions
    engine: Engine
    readout: Readout
    r2: Mapping[PairOfLayers, float] | None
    directions: Sequence[UnrelatedDirections]

    def result(self) -> VectorTransferResult:
        transfer, best = self.transfer, self.transfer.best
        vectors, contrast = transfer.vectors, transfer.target.on_prompts.contrast
        rows = [self._rows(index) for index in range(len(vectors))]
        native = {each.layer: index for index, each in enumerate(vectors) if each.name == NATIVE}
        carried = {
            (each.source_layer, each.layer): index
            for index, each in enumerate(vectors)
            if each.name == CARRIED and each.source_layer is not None
        }
        at_native, at_carried = native[best[1]], carried[best]
        rescaled = next(index for index, each in enumerate(vectors) if each.name == AT_NATIVE_NORM)

        responses = {layer: self._response(index) for layer, index in native.items()}
        scales = {layer: slope_scales(response) for layer, response in responses.items()}
        native_slopes = {layer: slopes_over(response, scales[layer]) for layer, response in responses.items()}
        carried_slopes = {pair: self._slopes(index, scales[pair[1]]) for pair, index in carried.items()}
        controls = {each.name: index for index, each in enumerate(vectors) if each.is_control}
        slopes = {NATIVE: native_slopes[best[1]], CARRIED: carried_slopes[best]} | {
            name: self._slopes(index, scales[best[1]]) for name, index in {AT_NATIVE_NORM: rescaled, **controls}.items()
        }
        meter = SlopeMeter(transfer.target, best[1], scales[best[1]])
        pair_slopes = measure_pair_slopes(transfer, slopes, meter, self.directions, self.options.seed)
        effects = [self._effects(index, scales[best[1]]) for index in (at_native, at_carried, rescaled)]
        drawn = self._drawn([index for name, index in controls.items() if name != SHIFT])
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
            n_prompts=len(self.engine.prompts),
            n_training_prompts=len(contrast.training),
            n_dropped_prompts=contrast.n_dropped,
            rows=rows,
            by_prompt=ByPrompt.of(self.engine, self.readout),
            by_layers=self._by_layers(carried_slopes, native_slopes),
            best=best,
            slopes=pair_slopes,
            agreement=VectorAgreement.of(
                (effects[0], effects[1], effects[2]), pair_slopes.unrelated, self.engine.bootstrap
            ),
            cosine_to_native=cosine(vectors[at_carried].vector, vectors[at_native].vector),
            norm=rows[at_carried].norm,
            native_norm=rows[at_native].norm,
            native=rows[at_native],
            carried=rows[at_carried],
            at_native_norm=rows[rescaled],
            mean_shift=next((row for row in rows if row.name == SHIFT), None),
            native_strongest=self._strongest(rows[at_native]),
            carried_strongest=self._strongest(rows[at_carried]),
            n_controls=len(controls),
            drawn=drawn,
            band_at_strongest=(float(drawn.band[0][strongest]), float(drawn.band[1][strongest])),
            control_flipped_highest=float(
                max(rows[index].estimates["flipped"].value[strongest] for index in controls.values())
            ),
            map_r2=None if self.r2 is None else self.r2[best],
            shared_tokens=self._shared_tokens(),
        )

    def _readout(self, index: int) -> Readout:
        """Return the readout of one vector, scale by scale."""
        n_scales = len(self.options.scales)
        return self.readout.select(slice(index * n_scales, (index + 1) * n_scales))

    def _rows(self, index: int) -> VectorRows:
        vector, readout = self.transfer.vectors[index], self._readout(index)
        estimates = estimates_of(self.engine, readout) | {"flipped": self._flipped(readout)}
        return VectorRows(vector.name, vector.source_layer, vector.layer, vector.norm, estimates)

    def _flipped(self, readout: Readout) -> Estimate:
        clean = self.engine.baseline("clean")
        return self.engine.bootstrap.share(np.abs(readout.correct - clean.correct))

    def _response(self, index: int) -> Response:
        """Return the logit difference by scale."""
        unsteered = self.engine.baseline("clean").logit_diff[0]
        return Response.of(self.options.scales, self._readout(index).logit_diff, unsteered)

    def _slopes(self, index: int, scales: Float[Array, "scale"]) -> Float[Array, "prompt"]:
        return slopes_over(self._response(index), scales)

    def _effects(self, index: int, scales: Float[Array, "scale"]) -> Effects:
        response = self._response(index)
        changes = response.values[response.scales != 0] - self.engine.baseline("clean").logit_diff
        return Effects(changes, slopes_over(response, scales))

    def _by_layers(
        self,
        carried: Mapping[PairOfLayers, Float[Array, "prompt"]],
        native: Mapping[int, Float[Array, "prompt"]],
    ) -> LayerSlopes:
        by_prompt = np.stack([*carried.values(), *native.values()])
        not_found = discover(by_prompt, np.ones_like(by_prompt[:1]), self.engine.bootstrap, ROUNDING).not_found
        means, shape = by_prompt.mean(axis=1), (-1, len(native))
        return LayerSlopes(
            source_layers=list(self.transfer.source.vectors),
            layers=list(native),
            carried=means[: len(carried)].reshape(shape),
            native=means[len(carried) :],
            carried_not_found=None if not_found is None else not_found[: len(carried)].reshape(shape),
            native_not_found=None if not_found is None else not_found[len(carried) :],
        )

    def _drawn(self, controls: Sequence[int]) -> DrawnControls:
        means = np.stack([self._readout(index).logit_diff.mean(axis=1) for index in controls])
        noun = self.transfer.route.control_noun
        return DrawnControls(len(controls), noun, means.mean(axis=0), prediction_band(means))

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
        translator = route.translator
        n_tokens, choice = len(translator.shared.source), translator.choice
        return SharedTokens(n_tokens, route.shared_mass(vector), choice.penalty, choice.r2)
