"""The report of a baseline: a row per group of prompts, their accuracy as bars, and whether the model does the task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.interventions.baseline.measure import CHANCE, BaselineResult
from ioi_lab.reports import plots
from ioi_lab.reports.report import Report, ReportContext, per_prompt_file, tidy_table
from ioi_lab.reports.wording import interval, sentence
from ioi_lab.stats.bootstrap import MIN_PROMPTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CAPTIONS: Final = {
    "logit_differences": "Each grey point is a prompt, by the logit of its answer less that of its distractor; the two "
    "upper rows are the means of the clean and the corrupted prompts, with their 95 % intervals. To the right of the "
    "dotted line at 0 the answer is preferred. The dashed line continues the mean of the clean prompts.",
    "accuracy_by_group": "The share of clean prompts whose answer is preferred, for all prompts, for each sentence and "
    "for each order of the labels, with 95 % intervals. Pale: not shown to be above chance (0.5), or too few prompts "
    "for an interval.",
}


def report_baseline(result: BaselineResult, context: ReportContext) -> Report:
    """Return the whole report."""
    selectors = [
        {"position": "END", "by": group.by, "group": group.name, "n_prompts": len(group.rows)}
        for group in result.groups
    ]
    baselines = result.baselines
    return Report(
        table=tidy_table(selectors, {"logit_diff": result.logit_diff, "accuracy": result.accuracy}),
        metrics=baselines.metrics() | {"does_task": float(result.does_task)},
        draw=lambda: _figures(result, context),
        summary=[verdict(result)],
        files=per_prompt_file(baselines.clean, baselines.clean.logit_diff[0], baselines.corrupted.logit_diff[0]),
        headline="clean_accuracy",
        question=f"Does {context.model} do the task {context.task} at all?",
        answer=[sentence(verdict(result))],
        captions=_CAPTIONS,
        limits=list(_limits(result)),
    )


def _limits(result: BaselineResult) -> Iterator[str]:
    if not result.checks.metrics():
        yield (
            "Clean and corrupted prompts give the same mean logit difference, so that there is nothing that patching "
            "could recover."
        )
    yield (
        "Accuracy compares the answer with the distractor alone: a model may prefer the answer and still expect some "
        "third token."
    )


def verdict(result: BaselineResult) -> str:
    """Return whether the model does the task, with the numbers that say so."""
    numbers = (
        f"it prefers the answer on {interval(result.accuracy)} of the prompts (chance: {CHANCE:g}), by "
        f"{interval(result.logit_diff)} logits"
    )
    if not result.is_known:
        return f"fewer than {MIN_PROMPTS} prompts, so that it is not known whether the model does the task: {numbers}"
    if result.does_task:
        return f"the model does the task: {numbers}"
    return f"the model is not shown to do the task: {numbers}"


def _figures(result: BaselineResult, context: ReportContext) -> dict[str, Figure]:
    """Return the logit differences of all prompts, and the accuracy of each group if there are several."""
    title = context.data_title(len(result.baselines.prompts))
    figures = {"logit_differences": _logit_differences(result, title)}
    if len(result.groups) > 1:
        figures["accuracy_by_group"] = plots.ranked_bars(
            plots.Axis("prompts", [f"n={len(group.rows)}: {group.name}" for group in result.groups]),
            result.accuracy.value,
            result.accuracy.low,
            result.accuracy.high,
            value_label=f"accuracy: share of prompts whose answer is preferred\n(chance: {CHANCE:g})",
            title=f"Accuracy on unedited prompts\n{title}",
            pale=~result.accuracy.exceeds(CHANCE),
            over=context.over,
            pale_note="not above chance with the whole interval, or too few prompts for one",
        )
    return figures


def _logit_differences(result: BaselineResult, title: str) -> Figure:
    passes = {"clean": result.baselines.clean, "corrupted": result.baselines.corrupted}
    means = {which: estimates["logit_diff"] for which, estimates in result.baselines.estimates.items()}
    marked = [
        plots.Marked(f"mean, {which}", float(mean.value[0]), float(mean.low[0]), float(mean.high[0]))
        for which, mean in means.items()
    ]
    samples = [
        plots.Samples(f"each prompt, {which}", readout.logit_diff[0], threshold=np.nan)
        for which, readout in passes.items()
    ]
    return plots.spreads(
        marked,
        samples,
        "logit difference, answer − distractor (logits)",
        f"Logit differences of the unedited passes\n{title}",
        ["a point per prompt; right of 0 the answer is preferred; bars: 95 % intervals of the means"],
    )
