"""What the reports of all experiments say: how the unedited model does, common definitions, and common limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.reports.definitions import LOGIT_DIFFERENCE, PASSES, SELF_CHECKS, intervals
from ioi_lab.reports.report import precision_limits
from ioi_lab.reports.wording import counted, interval, sentence
from ioi_lab.stats.bootstrap import MIN_PROMPTS

if TYPE_CHECKING:
    from ioi_lab.interventions.base import Result
    from ioi_lab.interventions.baselines import Baselines
    from ioi_lab.interventions.self_checks import SelfChecks
    from ioi_lab.reports.report import Report, ReportContext

FEW_PROMPTS: Final = 50
"""The number of prompts below which the report says that there are few."""


def with_common_texts(report: Report, result: Result, context: ReportContext) -> Report:
    """Return the report of an experiment, whose summary is complete, with what all of them say."""
    baselines = result.baselines
    question = report.question or f"What does this run show about {context.model} on {context.task}?"
    return replace(
        report,
        question=question,
        answer=[*report.answer, _baseline_sentence(baselines)],
        methods=list(dict.fromkeys([*report.methods, PASSES, LOGIT_DIFFERENCE, intervals(context.over), SELF_CHECKS])),
        limits=[
            *(warning for warning in _warnings(report.summary) if warning not in report.answer),
            *precision_limits(context.low_precision),
            *_prompts(baselines, context),
            *report.limits,
            *_self_checks(result.checks),
        ],
    )


def _baseline_sentence(baselines: Baselines) -> str:
    clean, corrupted = (baselines.estimates[which] for which in ("clean", "corrupted"))
    return (
        f"Without edits, on {counted(len(baselines.prompts), 'prompt')}, the mean logit difference is "
        f"{interval(clean['logit_diff'])} on the clean prompts (accuracy {interval(clean['accuracy'])}) and "
        f"{interval(corrupted['logit_diff'])} on the corrupted ones (accuracy {interval(corrupted['accuracy'])})."
    )


def _warnings(summary: Sequence[str]) -> Iterator[str]:
    return (sentence(line.strip()) for line in summary if line.strip().startswith("warning: "))


def _self_checks(checks: SelfChecks) -> Iterator[str]:
    """Yield what the self-checks came out as; they are not possible if there is nothing to recover."""
    if checks.metrics():
        yield (
            f"The self-checks came out as {checks.everything:.6f} (expected 1) and {abs(checks.nothing):.6f} (expected "
            "0): they test the code, not the conclusion."
        )


def _prompts(baselines: Baselines, context: ReportContext) -> Iterator[str]:
    count, groups = len(baselines.prompts), baselines.prompts.groups()
    if count < MIN_PROMPTS:
        yield f"{counted(count, 'prompt')}: too few for intervals and tests, so everything here may be chance."
    elif count < FEW_PROMPTS:
        yield f"{count} prompts are few: small effects are not found, and intervals are wide."
    if groups is not None and context.over == "prompts":
        yield (
            f"The prompts have {counted(len(set(groups)), 'sentence')}; intervals over prompts do not show how other "
            "sentences would differ (stats.over=sentences does)."
        )
