"""The lines for the terminal about a steering run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ioi_lab.interventions.steer.labels import Labels, between
from ioi_lab.interventions.steer.measure import SteerResult
from ioi_lab.interventions.steer.verdict import Reason, Verdict
from ioi_lab.reports.report import ReportContext
from ioi_lab.reports.wording import counted, interval, intervals_over, number, test_over
from ioi_lab.stats.bootstrap import MIN_PROMPTS
from ioi_lab.steering.contrasts import CONTRASTS

MAX_SLOPES: Final = 5
"""The number of sites whose slopes are listed, the steepest."""

SLOPE: Final = ".3f"

CHANCE: Final = 0.5
"""The accuracy of a probe that guesses."""

REASONS: Final[Mapping[Reason, str]] = {
    "no slope": "its slope is not shown to differ from 0",
    "pushes the other way": "it pushes the other way",
    "flips too few": "no scale flips more than half of the prompts with its whole interval",
    "not monotone": "the logit difference is not monotone around 0",
    "not steeper than random": "random directions of the same norm are as steep at their steepest site",
    "within the random band": "random directions of the same norm do as much at that scale",
}


def summary_lines(result: SteerResult, context: ReportContext) -> list[str]:
    """Return the lines: prompts, slopes, the strongest scale, the probe, ordinary text and the verdict."""
    labels = Labels(result, context)
    return [
        _prompt_line(result, labels),
        *_slope_lines(result, labels),
        *_random_slope_lines(result),
        _strongest_line(result, labels),
        *_control_lines(result),
        *_probe_lines(result, labels),
        *_text_lines(result),
        verdict_line(result.verdict, context.model),
    ]


def verdict_line(verdict: Verdict, model: str) -> str:
    """Return the verdict on the model as a sentence."""
    if verdict.outcome == "no direction":
        return f"warning: nothing to steer {model} with: the sides do not differ at these sites"
    if verdict.outcome == "no push away":
        return f"note: no scale pushes {model} away from what it prefers, so there is nothing to flip"
    if verdict.is_steered:
        met = (
            "the effect is monotone around 0, most prompts flip, and random directions neither do as much there nor "
            "are as steep at any site"
        )
        return f"{model} is steered by this direction: {met}"
    reasons = "; ".join(REASONS[reason] for reason in verdict.reasons)
    return f"warning: {model} is not steered by this direction: {reasons}"


def _prompt_line(result: SteerResult, labels: Labels) -> str:
    contrast, clean = result.contrast, result.baselines.estimates["clean"]
    names = "with other names" if contrast.names_differ else "not among these, with the same names"
    source = f"vector from {counted(len(contrast.training), 'prompt')} ({labels.method})"
    if result.source.file is not None:
        source = f"vector from {result.source.file}"
        names = names if contrast.names_differ else "which may be among its own, with the same names"
    dropped = f"; {contrast.n_dropped} with names of both halves left out" if contrast.n_dropped else ""
    return (
        f"{source}, steered: {counted(len(contrast.held_out), 'prompt')} {names}{dropped} "
        f"(logit difference {clean['logit_diff'].value[0]:.2f}, accuracy {clean['accuracy'].value[0]:.2f})"
    )


def _slope_lines(result: SteerResult, labels: Labels) -> list[str]:
    """The sites whose slope is found, the steepest first; if there are none, the steepest."""
    count, found, discoveries = len(result.steps), len(result.found), result.initial.discoveries
    what = f"slopes of the logit difference per unit of scale (in {labels.unit}) {labels.next_to_zero}"
    ranked = f"{what}, {count} sites ranked on these prompts" if count > 1 else what
    if not discoveries.is_known:
        heading = f"{ranked}, without tests (fewer than {MIN_PROMPTS} prompts), so that each may be chance:"
        return [heading, *(_slope_line(result, labels, site) for site in result.ranking[:MAX_SLOPES])]
    if not found:
        none = f"none of {counted(count, 'slope')} is distinguishable from 0 {test_over(labels.over)}"
        heading = f"{what}: {none}; the steepest, with its 95 % interval over {labels.over}:"
        return [heading, _slope_line(result, labels, result.best)]
    return [
        f"{ranked}, with {intervals_over(labels.over)}:",
        *(_slope_line(result, labels, site) for site in result.found[:MAX_SLOPES]),
        f"{found} of {counted(count, 'slope')} {'is' if found == 1 else 'are'} distinguishable from 0 "
        f"{test_over(labels.over)}",
    ]


def _slope_line(result: SteerResult, labels: Labels, site: int) -> str:
    """The slope of a site next to 0, and that over its linear range."""
    line = f"  {labels.site(site):<14} {interval(result.initial.slope, site, SLOPE)}"
    response = result.responses[site]
    scales, linear = between(response.linear_scales[0], response.linear_scales[-1]), response.linear
    if not linear.is_linear:
        return f"{line}, no linear range (R² {linear.r2:.3f} {scales})"
    r2 = f", R² {linear.r2:.3f}" if np.isfinite(linear.r2) else ""
    efficiency = result.efficiency.value[site]
    relative = f", efficiency {efficiency:.2f} per {labels.norm}" if np.isfinite(efficiency) else ""
    return f"{line}, over the linear range {scales} {interval(result.slopes, site, SLOPE)}{r2}{relative}"


def _random_slope_lines(result: SteerResult) -> list[str]:
    """How steep random directions are at their steepest site, and which sites are steeper."""
    if (controls := result.controls) is None or not result.initial.scales:
        return []
    count, beyond = len(result.steps), len(result.beyond_random)
    where = f"at all {count} sites, each at its steepest" if count > 1 else "there"
    steeper = f"{beyond or 'none'} of {counted(count, 'slope')} {'is' if beyond < 2 else 'are'} steeper"
    return [
        f"{len(controls.means)} random directions of the same norms {where}: absolute slopes of "
        f"{controls.steepest.min():.2f} to {controls.steepest.max():.2f}, and at most {controls.steepest_limit:.2f} "
        f"for a further one with 95 %; {steeper}"
    ]


def _strongest_line(result: SteerResult, labels: Labels) -> str:
    row, kind = result.strongest_row, CONTRASTS[result.source.contrast]
    sides = ", ".join(f"{getattr(kind, side)} {share:.2f}" for side, share in result.flipped_by_side.items())
    sides = f" ({sides})" if len(result.flipped_by_side) > 1 else ""
    return (
        f"{labels.site(result.best)} at scale {number(result.scales[result.strongest])}: logit difference "
        f"{result.baselines.estimates['clean']['logit_diff'].value[0]:.2f} → "
        f"{interval(result.estimates['logit_diff'], row)}, "
        f"share of prompts that flip {interval(result.estimates['flipped'], row)}{sides}"
    )


def _control_lines(result: SteerResult) -> list[str]:
    controls, scale = result.controls, result.strongest
    if controls is None:
        return []
    return [
        f"{len(controls.means)} random directions of the same norm at that site and scale: "
        f"{controls.lowest[scale]:.2f} to {controls.highest[scale]:.2f}, "
        f"at most {controls.highest_flipped[scale]:.2f} of the prompts flip; 95 % band of this site alone "
        f"[{controls.low[scale]:.2f}, {controls.high[scale]:.2f}] (over all scales, {controls.share_inside:.2f} of "
        "them lie in the band of the others)"
    ]


def _probe_lines(result: SteerResult, labels: Labels) -> list[str]:
    accuracy, best = result.probe_accuracy, result.best
    if accuracy is None:
        return []
    share = f"{interval(accuracy, best)} of {result.n_probed} held-out activations"
    if accuracy.low[best] <= CHANCE:
        return [f"warning: the probe of {labels.site(best)} is at chance ({share}): its direction means little"]
    return [f"the probe of {labels.site(best)} recognises the side of {share}"]


def _text_lines(result: SteerResult) -> list[str]:
    text = result.text
    if text is None:
        return []
    agreement = text.estimates["text_agreement"].value[result.strongest]
    return [
        f"ordinary text ({text.name}) at that scale: next-token loss {text.loss:.2f} → {text.steered_loss:.2f} nats "
        f"per token, the likeliest next token stays the same for {agreement:.2f} of the tokens"
    ]
