"""The texts of a steering run's report: question, answer, captions, methods and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.steer.labels import Labels
from ioi_lab.interventions.steer.summary import verdict_line
from ioi_lab.reports.captions import DIVERGING, bands, joined, pale
from ioi_lab.reports.definitions import Method, tests
from ioi_lab.reports.wording import interval, number, sentence

if TYPE_CHECKING:
    from ioi_lab.interventions.steer.measure import SteerResult
    from ioi_lab.reports.report import Report, ReportContext

_STEERING: Final = Method(
    "Steering",
    "A direction, times a scale, is added to the activation at a site, at the given positions. A positive scale pushes "
    "each prompt towards its answer, a negative one away from it: along the vector if the answer is on the contrast's "
    "positive side, else against it. The vector is made from one half of the prompts and tried on the other.",
    "Turner et al. 2023, arXiv 2308.10248; Rimsky et al. 2023, arXiv 2312.06681",
)
_SLOPE: Final = Method(
    "Slope",
    "The change of the mean logit difference per unit of scale, next to the scale 0, where it is tested; over the "
    "linear range, the widest range of scales around 0 in which a straight line explains 98 % of the variance.",
)
_FLIP: Final = Method("Flip", "A prompt flips if the steered model prefers the other one of answer and distractor.")
_VERDICT: Final = Method(
    "Steered",
    "A direction steers the model if its slope is distinguishable from 0 and has the right sign, the response is "
    "monotone around 0, some scale flips more than half of the prompts with the whole interval, and random directions "
    "of the same norm neither do as much at that site and scale nor are as steep at any site.",
)


def with_texts(report: Report, result: SteerResult, context: ReportContext) -> Report:
    """Return the report with its texts."""
    labels = Labels(result, context)
    return replace(
        report,
        question=f"Does a direction ({labels.vector}) at {labels.component} steer {context.model} on {context.task}?",
        answer=[
            f"{sentence(verdict_line(result.verdict, context.model))} {_strongest(result, labels)}",
            *_controls(result), _slope(result, labels), *_text(result),
        ],
        captions=_captions(result, labels),
        methods=[_STEERING, _SLOPE, _FLIP, _VERDICT, tests(context.over)],
        limits=_limits(result, labels),
    )  # fmt: skip


def _strongest(result: SteerResult, labels: Labels) -> str:
    best, row = labels.site(result.best), result.strongest_row
    unsteered = interval(result.baselines.estimates["clean"]["logit_diff"])
    return (
        f"At {best} and scale {number(result.scales[result.strongest])}, the logit difference goes from {unsteered} to "
        f"{interval(result.estimates['logit_diff'], row)}, and a share of {interval(result.estimates['flipped'], row)} "
        "of the prompts flip."
    )


def _slope(result: SteerResult, labels: Labels) -> str:
    return (
        f"Next to the scale 0, the steepest of {len(result.steps)} sites, {labels.site(result.best)}, changes the "
        f"logit difference by {interval(result.initial.slope, result.best)} per unit of scale ({labels.unit})."
    )


def _controls(result: SteerResult) -> list[str]:
    controls, scale = result.controls, result.strongest
    if controls is None:
        return []
    return [
        f"{len(controls.means)} random directions of the same norm there leave it between {controls.lowest[scale]:.2f} "
        f"and {controls.highest[scale]:.2f}, and flip a share of at most {controls.highest_flipped[scale]:.2f}."
    ]


def _text(result: SteerResult) -> list[str]:
    if (text := result.text) is None:
        return []
    agreement = text.estimates["text_agreement"].value[result.strongest]
    return [
        f"On ordinary text ({text.name}), the same steering changes the next-token loss from {text.loss:.2f} to "
        f"{text.steered_loss:.2f} nats per token; the likeliest token stays the same for a share of {agreement:.2f}."
    ]


def _captions(result: SteerResult, labels: Labels) -> dict[str, str]:
    scale = f"The scale is in {labels.unit}: 0 is without steering, positive scales push towards the answer."
    best = labels.site(result.best)
    random = (
        "The grey band is where a random direction of the same norm at that site would lie with 95 %."
        if result.controls is not None
        else ""
    )
    return {
        "logit_diff_by_scale": joined(
            f"The mean logit difference along the scale, a line for each of the steepest sites. {scale}",
            f"The band around {best} is the 95 % interval over {labels.over}.", random,
        ),
        "probabilities_by_scale": joined(
            f"The probabilities of the answer, the distractor and all other tokens along the scale, at {best}. If "
            "those of other tokens rise, steering breaks the model rather than moving its choice. "
            f"{scale}", bands(labels.over),
        ),
        "logit_diff_by_layer_and_scale": (
            "Each cell is the mean logit difference with steering in one layer (rows) at one scale (columns). Blue "
            f"prefers the answer, red the distractor. {scale}"
        ),
        "slope_by_head": joined(
            "Each cell is the slope of one head, next to the scale 0: rows are layers, columns heads.", DIVERGING,
            pale(labels.over) if result.initial.discoveries.is_known else "",
            "Heads with an outline are steeper than random directions at any site.",
        ),
        "side_effects_by_scale": (
            "What the same steering, at all positions, does to ordinary text: the change of the next-token loss, "
            f"and the share of tokens whose likeliest successor stays the same; a line per site. {scale} Bands "
            "are 95 % intervals over passages."
        ),
        "efficiency_against_side_effect": (
            "Each point is a site. Up is better: a larger change of the logit difference per norm of the activation. "
            "Left is better: less harm to ordinary text within the linear range."
        ),
    }  # fmt: skip


def _limits(result: SteerResult, labels: Labels) -> list[str]:
    limits = []
    if len(result.steps) > 1:
        limits.append(
            "Sites are ranked on the prompts that they are reported on, so the numbers of the steepest one are "
            "somewhat too large; its comparison with random directions allows for that in the slopes alone."
        )
    if not result.contrast.names_differ:
        limits.append("The steered prompts have the same names as those that the vector was made from.")
    if not result.verdict.is_steered:
        limits.append("That this direction does not steer here does not show that no direction does.")
    if result.text is not None:
        limits.append(f"Side effects are measured on one text ({result.text.name}, {result.text.n_passages} passages).")
    else:
        limits.append("What steering does to ordinary text was not measured (intervention.side_effects).")
    if not result.initial.discoveries.is_known:
        limits.append(f"There are too few {labels.over} for tests of slopes.")
    return limits
