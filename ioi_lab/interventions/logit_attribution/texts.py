"""The texts of the report of direct logit attribution: question, answer, captions, methods and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.reports.captions import DIVERGING, OUTLINED, RANKED, bars, joined, pale
from ioi_lab.reports.definitions import WANG, Method, tests
from ioi_lab.reports.wording import enumerated, interval, test_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ioi_lab.interventions.logit_attribution.measure import LogitAttributionResult
    from ioi_lab.reports.report import Report, ReportContext

_MAX_NAMED: Final = 5
_ATTRIBUTION: Final = Method(
    "Direct logit attribution",
    "The residual stream at the last position is the sum of what the embedding, each head and each MLP write. With the "
    "scales of the norms fixed at their values in the pass, the logit difference is a sum with one term for each of "
    "them: its direct effect, in logits.",
    f"Elhage et al. 2021; {WANG}",
)


def with_texts(report: Report, result: LogitAttributionResult, names: Sequence[str], context: ReportContext) -> Report:
    """Return the report with its texts; `names` are those of the terms."""
    over, known = context.over, result.discoveries.is_known
    found = joined(pale(over) if known else "", OUTLINED)
    scale = "The scale is in logits: what a component adds to the logit difference" + (
        ", before the cap on logits." if result.logit_cap is not None else "."
    )
    return replace(
        report,
        question=f"Which parts of {context.model} write its preference for the answer on {context.task}?",
        answer=_answer(result, names, context),
        captions={
            "direct_effect_by_head": joined(
                "Each cell is the direct effect of one head: rows are layers, columns heads.", scale, DIVERGING, found
            ),
            "top_terms": joined(
                "The largest terms among the embedding, all heads, MLPs and biases.", scale, RANKED, bars(over),
                pale(over) if known else "",
            ),
        },
        methods=[_ATTRIBUTION, tests(over)],
        limits=[
            "Only direct effects count: what a component does through later heads and MLPs is not in its term.",
            "The scales of the norms are taken as given, although components decide them together.",
        ],
    )  # fmt: skip


def _answer(result: LogitAttributionResult, names: Sequence[str], context: ReportContext) -> list[str]:
    rows = result.top if result.discoveries.is_known else result.ranking
    named = enumerated([f"{names[row]} ({interval(result.direct_effect, row)})" for row in rows[:_MAX_NAMED]])
    whole = f"the logit difference of {result.logit_diff:.2f} on the {result.which} prompts"
    if not result.discoveries.is_known:
        return [
            f"There are too few prompts for tests, so each effect may be chance; the largest on {whole} are {named}."
        ]
    if not rows:
        return [f"No direct effect on {whole} is distinguishable from 0 {test_over(context.over)}."]
    which = f"the largest are {named}" if len(rows) > 1 else f"it is {named}"
    return [
        f"{len(rows)} of {len(names)} terms of {whole} {'are' if len(rows) > 1 else 'is'} distinguishable from 0 "
        f"{test_over(context.over)}; {which}, in logits.",
        f"All terms add up to the model's own logit difference within {result.error:.1e}.",
    ]
