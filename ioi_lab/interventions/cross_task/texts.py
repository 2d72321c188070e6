"""The texts of the report of circuits across tasks: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.reports.captions import DIVERGING, RANKED, bars, joined
from ioi_lab.reports.definitions import FAITHFULNESS, Method
from ioi_lab.reports.wording import enumerated, interval

if TYPE_CHECKING:
    from ioi_lab.interventions.cross_task.measure import CrossTaskResult
    from ioi_lab.reports.report import Report, ReportContext

_SPECIFICITY: Final = Method(
    "Specificity",
    "The faithfulness of a circuit on the prompts of its own task, less the mean faithfulness of random circuits "
    "there, less the same difference on the prompts of another task. Random circuits have as many edges into each "
    "layer and kind of input. The interval combines those of the two differences, whose prompts are independent "
    "(MOVER).",
    "Merullo et al. 2024, arXiv 2310.08744; Zou & Donner 2008",
)


def with_texts(report: Report, result: CrossTaskResult, tasks: Sequence[str], context: ReportContext) -> Report:
    """Return the report with its texts; `tasks` are the names of all tasks."""
    return replace(
        report,
        question=f"Are the circuits of {enumerated(list(tasks))} in {context.model} specific to their tasks?",
        answer=list(_answer(result, tasks)),
        captions={
            "faithfulness_across_tasks": joined(
                "Rows are the circuits of the tasks, columns the tasks whose prompts they are evaluated on; the "
                "diagonal is each circuit on its own task. On the left its faithfulness, on the right the same less "
                "the mean of random circuits; pale cells there are not distinguishable from random circuits.",
                DIVERGING,
            ),
            "specificity": joined(
                "Each bar is a circuit against another task: how much more faithful it is on its own task, each less "
                "random circuits.",
                RANKED,
                bars(context.over),
                "Pale bars have an interval that includes 0, or none.",
            ),
        },
        methods=[FAITHFULNESS, _SPECIFICITY],
        limits=[
            "A circuit that is faithful on another task may be shared machinery, such as what writes the likeliest "
            "tokens; which part of it is shared does not show here.",
            "Intervals are over prompts of the same kinds of sentences, and not corrected for the number of pairs of "
            "tasks.",
        ],
    )


def _answer(result: CrossTaskResult, tasks: Sequence[str]) -> Iterator[str]:
    specific, pairs = [], []
    for circuit, name in enumerate(tasks):
        for task, other in enumerate(tasks):
            if circuit != task:
                estimate = result.specificity[task].rows([circuit])
                pairs.append((float(estimate.value[0]), f"{name} on {other} ({interval(estimate)})"))
                specific.append(bool(estimate.exceeds()[0]))
    least, most = min(pairs), max(pairs)
    yield (
        f"{sum(specific)} of {len(specific)} pairs of a circuit and another task show that the circuit is specific to "
        f"its own, with the whole 95 % interval; specificity goes from {least[1]} to {most[1]}."
    )
    own = [
        f"{name} {interval(result.on[circuit].faithfulness, circuit)} (random circuits "
        f"{result.on[circuit].random[circuit].mean():.2f})"
        for circuit, name in enumerate(tasks)
    ]
    yield f"On their own tasks the circuits have a faithfulness of: {enumerated(own)}."
