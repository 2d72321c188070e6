"""The slopes of the best pair of layers: the shares of the native one, and whether controls are exceeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ioi_lab.interventions.transfer.mismatch_measure import MismatchedConcepts, measure_mismatched
from ioi_lab.interventions.transfer.slopes import RefitSpread, SlopeMeter
from ioi_lab.interventions.transfer.unrelated_measure import UnrelatedControls, measure_unrelated
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.refits import N_REFITS, Refits
from ioi_lab.transfer.unrelated import UnrelatedDirections
from ioi_lab.transfer.vectors import (
    AT_NATIVE_NORM,
    CARRIED,
    NATIVE,
    NATIVE_AT_CARRIED_NORM,
    SHIFT,
    SteeringVector,
    VectorTransfer,
    cosine,
    with_norm_of,
)

SlopesByVector = Mapping[str, Float[Array, "prompt"]]
"""The slope of each prompt, by the name of the vector: native, carried, carried at the native norm, controls."""


@dataclass(frozen=True)
class SlopeRows:
    """The vectors in the best layer: native, carried, each at the norm of the other, then every control."""

    kinds: list[str]
    names: list[str]
    norms: list[float]
    cosines: list[float]
    """The cosines with the carried vector."""

    slopes: Estimate
    shares: Estimate
    """The slopes as shares of the native one."""


@dataclass(frozen=True)
class PairSlopes:
    """The slopes of the logit difference per unit of scale, in the best pair of layers.

    Intervals are over the held-out prompts and over the training prompts that the vectors are made from; those of
    controls, in `rows`, are over the held-out prompts. None of them includes the uncertainty of the map.
    """

    scales: Float[Array, "scale"]
    """The scales that slopes are taken over."""

    n_refits: int
    """The number of bootstrap samples of the training prompts that the vectors are made from again."""

    native: Estimate
    carried: Estimate
    at_native_norm: Estimate
    """The slope of the carried vector rescaled to the norm of the native one, so that directions are compared."""

    native_at_carried_norm: Estimate
    """The slope of the native vector rescaled to the norm of the carried one, which is that of the controls; its
    interval is over the held-out prompts."""

    share: Estimate
    """The ratio of the carried vector's slope to the native one's."""

    share_at_native_norm: Estimate
    drawn: Float[Array, "control"]
    """The slopes of the controls that are drawn at random."""

    mean_shift: float | None
    steepest_control: float
    """The largest slope of a drawn control or of the mean shift."""

    margin_over_steepest: Estimate
    """The mean difference between the slopes of the carried vector and of that control."""

    unrelated: list[UnrelatedControls]
    """Unrelated directions of the source by the same route, by kind."""

    mismatched: MismatchedConcepts
    """Vectors of other contrasts by the same route."""

    unbeaten: list[str]
    """The nouns of the controls that the carried vector is not shown to exceed."""

    out_of_reach: list[str]
    """The nouns of the route's controls that the native vector is not shown to exceed at this norm either: that the
    carried vector does not exceed them shows nothing about what has come over."""

    beats_controls: bool
    """Whether the carried vector is steeper than each drawn control and the mean shift, with the whole interval."""

    rows: SlopeRows

    @property
    def native_steers(self) -> bool:
        """Whether the native slope lies above 0 with its whole interval: else there is nothing to have a share of."""
        return bool(self.native.exceeds()[0])

    @property
    def beats_unrelated(self) -> bool:
        """Whether the carried vector is steeper than the quantile of each kind of unrelated directions."""
        return all(kind.is_exceeded for kind in self.unrelated)

    @property
    def beats_mismatched(self) -> bool:
        """Whether the carried vector is steeper than each vector of another contrast, with the whole interval."""
        return not self.mismatched.unbeaten

    @property
    def comes_over(self) -> bool:
        """Whether the carried vector moves prompts towards their answer, and more than every kind of control."""
        beats_all = self.beats_controls and self.beats_unrelated and self.beats_mismatched
        return bool(self.carried.exceeds()[0]) and beats_all


def measure_pair_slopes(
    transfer: VectorTransfer,
    slopes: SlopesByVector,
    meter: SlopeMeter,
    directions: Sequence[UnrelatedDirections],
    seed: int,
) -> PairSlopes:
    """Compare the carried vector with the native one and with controls.

    Args:
        transfer: The vectors, their route, and the best pair of layers.
        slopes: The slopes of the vectors that have been steered with in the best layer.
        meter: Measures those of unrelated directions and of refitted vectors.
        directions: Unrelated directions in the best layer of the source.
        seed: Draws the prompts of refits.

    """
    bootstrap = transfer.target.on_prompts.held_out.bootstrap
    n_training = len(transfer.target.on_prompts.contrast.training)
    spread = RefitSpread.of(Refits.of(transfer.target, transfer.route, transfer.best, seed), meter, n_training)
    native, carried, at_native_norm = (slopes[name][None] for name in (NATIVE, CARRIED, AT_NATIVE_NORM))
    controls = {name: values for name, values in slopes.items() if name not in (NATIVE, CARRIED, AT_NATIVE_NORM)}
    means = {name: float(values.mean()) for name, values in controls.items()}
    native_rescaled = meter.slopes([_by_name(transfer)[NATIVE_AT_CARRIED_NORM].vector])
    margins = spread.widened(bootstrap.mean(carried - np.stack(list(controls.values()))), spread.slope)
    steepest = int(np.argmax(list(means.values())))
    unrelated = [measure_unrelated(transfer, kind, carried[0], meter, spread) for kind in directions]
    mismatched = measure_mismatched(transfer, (carried[0], native[0]), meter, spread)
    estimates = Estimate.joined(
        [
            spread.widened(bootstrap.mean(native), spread.native_slope),
            spread.widened(bootstrap.mean(carried), spread.slope),
            spread.widened(bootstrap.mean(at_native_norm), spread.slope_at_native_norm),
        ]
    )
    shares = Estimate.joined(
        [
            spread.widened(bootstrap.ratio(carried, native), spread.share),
            spread.widened(bootstrap.ratio(at_native_norm, native), spread.share_at_native_norm),
        ]
    )
    noun = transfer.route.control_noun
    unbeaten = _unbeaten(noun, controls, margins)
    native_margins = bootstrap.mean(native_rescaled - np.stack(list(controls.values())))
    return PairSlopes(
        scales=meter.scales,
        n_refits=N_REFITS,
        native=estimates.rows(slice(0, 1)),
        carried=estimates.rows(slice(1, 2)),
        at_native_norm=estimates.rows(slice(2, 3)),
        native_at_carried_norm=bootstrap.mean(native_rescaled),
        share=shares.rows(slice(0, 1)),
        share_at_native_norm=shares.rows(slice(1, 2)),
        drawn=np.array([mean for name, mean in means.items() if name != SHIFT]),
        mean_shift=means.get(SHIFT),
        steepest_control=list(means.values())[steepest],
        margin_over_steepest=margins.rows(slice(steepest, steepest + 1)),
        unrelated=unrelated,
        mismatched=mismatched,
        unbeaten=[
            *unbeaten,
            *(kind.noun for kind in unrelated if not kind.is_exceeded),
            *mismatched.unbeaten,
        ],
        out_of_reach=_unbeaten(noun, controls, native_margins),
        beats_controls=not unbeaten,
        rows=_rows(
            transfer, controls, (native, native_rescaled), (unrelated, mismatched), (estimates, shares), bootstrap
        ),
    )


def _by_name(transfer: VectorTransfer) -> dict[str, SteeringVector]:
    """Return the vectors of the best pair of layers by name, and the native one at the carried norm."""
    best = {each.name: each for each in transfer.vectors_of_best}
    native, carried = best[NATIVE], best[CARRIED]
    rescaled = with_norm_of(native.vector, carried.vector)
    return best | {
        NATIVE_AT_CARRIED_NORM: replace(native, name=NATIVE_AT_CARRIED_NORM, vector=rescaled, norm=carried.norm)
    }


def _unbeaten(drawn: str, controls: SlopesByVector, margins: Estimate) -> list[str]:
    """Return the nouns of the controls of the route that are not exceeded."""
    names = {name for name, is_beaten in zip(controls, margins.exceeds(), strict=True) if not is_beaten}
    return ([drawn] if names - {SHIFT} else []) + ([SHIFT] if SHIFT in names else [])


def _rows(
    transfer: VectorTransfer,
    controls: SlopesByVector,
    native: tuple[Float[Array, "1 prompt"], Float[Array, "1 prompt"]],
    others: tuple[list[UnrelatedControls], MismatchedConcepts],
    of_vectors: tuple[Estimate, Estimate],
    bootstrap: Bootstrap,
) -> SlopeRows:
    """Return all rows.

    Args:
        transfer: The vectors.
        controls: The slopes of the route's controls.
        native: The slopes of the native vector, at its own norm and at that of the carried one.
        others: Unrelated directions, and vectors of other contrasts.
        of_vectors: The slopes of the native and carried vectors, and the shares of the latter.
        bootstrap: Makes the intervals of the others.

    """
    unrelated, mismatched = others
    best = _by_name(transfer)
    carried = best[CARRIED]
    vectors = [best[name] for name in (NATIVE, CARRIED, AT_NATIVE_NORM, NATIVE_AT_CARRIED_NORM, *controls)]
    values = np.concatenate(
        [native[1], np.stack(list(controls.values())), *(kind.slopes for kind in unrelated), mismatched.slopes]
    )
    one = Estimate(*(np.array([value]) for value in (1.0, np.nan, np.nan)))
    kinds = [kind for kind in unrelated for _ in kind.names]
    return SlopeRows(
        kinds=[
            *("control" if each.is_control else each.name for each in vectors),
            *(f"unrelated {kind.key}" for kind in kinds),
            *("another concept" for _ in mismatched.names),
        ],
        names=[
            *(each.name for each in vectors),
            *(name for kind in unrelated for name in kind.names),
            *mismatched.names,
        ],
        norms=[*(each.norm for each in vectors), *(carried.norm for _ in (*kinds, *mismatched.names))],
        cosines=[
            *(cosine(each.vector, carried.vector) for each in vectors),
            *(float(value) for kind in unrelated for value in kind.cosines),
            *mismatched.cosines.tolist(),
        ],
        slopes=Estimate.joined([of_vectors[0], bootstrap.mean(values)]),
        shares=Estimate.joined([one, of_vectors[1], bootstrap.ratio(values, native[0])]),
    )
