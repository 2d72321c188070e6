"""The lines for the terminal about one direction of transferring steering vectors."""

from __future__ import annotations

from collections.abc import Sequence

from ioi_lab.interventions.transfer.unrelated_measure import UnrelatedControls
from ioi_lab.interventions.transfer.vector_result import VectorTransferResult
from ioi_lab.reports.wording import interval, plain
from ioi_lab.stats.bootstrap import MIN_PROMPTS
from ioi_lab.transfer.vectors import SHIFT


def summary_lines(result: VectorTransferResult) -> list[str]:
    """Return lines about the best pair of layers, its controls, and the verdict."""
    slopes, (from_layer, to_layer) = result.slopes, result.best
    native, carried = result.native_strongest, result.carried_strongest
    return [
        f"{result.name}, layer {from_layer} → {to_layer} (in which each model's own vector is steepest, on "
        f"{result.n_training_prompts} training prompts), {_quality(result)}, "
        f"cosine with the native vector {result.cosine_to_native:.2f}:",
        f"  slope per unit of scale on {result.n_prompts} held-out prompts: native {interval(slopes.native)}, "
        f"carried {interval(slopes.carried)}",
        _shares(result),
        _steepest(result),
        *(_unrelated(kind) for kind in result.slopes.unrelated),
        *_mismatched(result),
        _agreement(result),
        f"  flipped: {interval(native.flipped)} by the native vector at scale {native.scale:g}; "
        f"{interval(carried.flipped)} by the carried one at {carried.scale:g}, where a control flips at most "
        f"{result.control_flipped_highest:.2f}",
        f"  {uncertainty(result)}; those of flips, of other concepts and of single prompts' agreement are over the "
        "held-out prompts alone",
        f"  {verdict(result)}",
    ]


def _steepest(result: VectorTransferResult) -> str:
    slopes = result.slopes
    return (
        f"  steepest of {result.n_controls} controls {slopes.steepest_control:.2f}; the carried vector's slope less "
        f"that: {interval(slopes.margin_over_steepest)}; {result.target}'s own vector at this norm: "
        f"{interval(slopes.native_at_carried_norm)}"
    )


def uncertainty(result: VectorTransferResult) -> str:
    """Return what the intervals of slopes, shares and differences are over."""
    held_fixed = "the layers" if result.shared_tokens is not None else "the map and the layers"
    return (
        f"95 % intervals of slopes are over the held-out prompts and, by {result.slopes.n_refits} refits, over the "
        f"training prompts of the vectors; {held_fixed} are taken as given"
    )


def verdict(result: VectorTransferResult) -> str:
    """Return whether an effect transfers, and if not, the controls that speak against it."""
    if not result.slopes.carried.has_bounds:
        return f"no transfer has been shown: there are no intervals (with fewer than {MIN_PROMPTS} held-out prompts)"
    if result.slopes.comes_over:
        return "the carried vector is steeper than every kind of control: its effect transfers"
    if result.slopes.unbeaten:
        controls = _against(result, result.slopes.unbeaten)
        too_strong = _out_of_reach(result)
        return f"no transfer has been shown: the carried vector is not clearly steeper than {controls}{too_strong}"
    return "no transfer has been shown: the carried vector's slope is not clearly above 0"


def verdict_sentences(result: VectorTransferResult) -> str:
    """Return the verdict with the slopes of the best pair of layers and of its controls, in sentences."""
    slopes, (from_layer, to_layer) = result.slopes, result.best
    unrelated = "".join(
        f", 97.5 % of {len(kind.names)} {kind.noun} below {kind.quantile:.2f}" for kind in slopes.unrelated
    )
    return (
        f"{result.name}, layer {from_layer} → {to_layer}: {verdict(result)}. Its slope is "
        f"{interval(slopes.carried)} per unit of scale on {result.n_prompts} held-out prompts, next to "
        f"{interval(slopes.native)} of the native vector; of controls, the steepest of {result.n_controls} has "
        f"{slopes.steepest_control:.2f}{unrelated}{_concepts(result)}.{_what_came_over(result)}"
    )


def _concepts(result: VectorTransferResult) -> str:
    """Return the slopes of other concepts as a part of a sentence."""
    mismatched = result.slopes.mismatched
    return "".join(
        f", the vector of {plain(name)} {interval(mismatched.slope, row)}" for row, name in enumerate(mismatched.names)
    )


def _what_came_over(result: VectorTransferResult) -> str:
    """Return sentences on how much of the native effect came over, on average and prompt by prompt."""
    slopes, agreement = result.slopes, result.agreement
    if not slopes.native_steers:
        return f" {result.target}'s own vector does not clearly steer, so that there is nothing to have a share of."
    own, rescaled = (interval(share, form=".0f", factor=100) for share in (slopes.share, slopes.share_at_native_norm))
    return (
        f" That is {own} % of the native slope, and {rescaled} % at the native norm. Prompt by prompt, its effects "
        f"have a correlation of {interval(agreement.carried.correlation)} with those of the native vector (97.5 % of "
        f"unrelated directions below {agreement.unrelated:.2f})."
    )


def _mismatched(result: VectorTransferResult) -> list[str]:
    mismatched = result.slopes.mismatched
    return [
        f"  another concept, the vector of {plain(name)} by the same route, at the same norm: slope "
        f"{interval(mismatched.slope, row)} ({'differs' if name in mismatched.steering else 'does not clearly differ'} "
        f"from 0, {interval(mismatched.share, row, '.0f', 100)} % of the native one); the carried vector's slope less "
        f"that: {interval(mismatched.margin, row)}"
        for row, name in enumerate(mismatched.names)
    ]


def _agreement(result: VectorTransferResult) -> str:
    agreement = result.agreement
    own, rescaled = (
        interval(at_norm.relative_error, form=".0f", factor=100)
        for at_norm in (agreement.carried, agreement.at_native_norm)
    )
    return (
        f"  prompt by prompt: correlation of the carried with the native effects "
        f"{interval(agreement.carried.correlation)} (97.5 % of unrelated directions below {agreement.unrelated:.2f}); "
        f"mean squared error along the scales {interval(agreement.carried.squared_error)}, {own} % of the native mean "
        f"square, {rescaled} % at the native norm"
    )


def _against(result: VectorTransferResult, nouns: Sequence[str]) -> str:
    """Return some of the controls that the carried vector is not shown to exceed."""
    quantiles = {kind.noun: f"97.5 % of {len(kind.names)} {kind.noun}" for kind in result.slopes.unrelated}
    drawn = {result.drawn.noun: f"each of {result.drawn.count} {result.drawn.noun}", SHIFT: "the mean shift"}
    concepts = {name: f"the vector of {plain(name)}" for name in result.slopes.mismatched.names}
    return ", ".join((quantiles | drawn | concepts)[noun] for noun in nouns)


def _out_of_reach(result: VectorTransferResult) -> str:
    """Return which of these controls the native vector does not exceed either, as the end of a sentence."""
    slopes = result.slopes
    nouns = [noun for noun in slopes.unbeaten if noun in slopes.out_of_reach]
    if not nouns:
        return ""
    own = f"{result.target}'s own vector ({interval(slopes.native_at_carried_norm)})"
    return (
        f"; at its norm, {own} is not clearly steeper than {_against(result, nouns)} either, so that these controls do "
        "not show whether anything comes over"
    )


def _shares(result: VectorTransferResult) -> str:
    if not result.slopes.native_steers:
        return (
            f"  the slope of {result.target}'s own vector is not clearly above 0 in layer {result.best[1]}: there is "
            "no native effect to have a share of"
        )
    own, rescaled = (
        interval(share, form=".0f", factor=100) for share in (result.slopes.share, result.slopes.share_at_native_norm)
    )
    what = "share of the native slope" if result.slopes.comes_over else "ratio to the native slope"
    return (
        f"  {what}: {own} % at the carried vector's own norm ({result.norm:.2f}), {rescaled} % at the native "
        f"vector's ({result.native_norm:.2f})"
    )


def _unrelated(kind: UnrelatedControls) -> str:
    count = len(kind.names)
    found = "" if kind.n_found is None else f"; {kind.n_found} of them have a slope that differs from 0"
    return (
        f"  {count} {kind.noun} by the same route, at the same norm: 97.5 % quantile of their slopes "
        f"{kind.quantile:.2f}, rank of the carried vector {kind.rank} of {count + 1}; its slope less the quantile: "
        f"{interval(kind.margin)}{found}"
    )


def _quality(result: VectorTransferResult) -> str:
    if (shared := result.shared_tokens) is not None:
        return (
            f"{shared.n_tokens:,} shared tokens carry {shared.mass:.0%} of the vector's logits, R² at left-out tokens "
            f"{shared.r2:.2f} (penalty {shared.penalty:g})"
        )
    return f"R² of the map {result.map_r2:.2f}"
