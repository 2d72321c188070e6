"""The report of attention patterns: a row per head, the heads that lead, and a page to explore one prompt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.attention.figures import attention_figures, shown_title
from ioi_lab.interventions.attention.texts import with_texts
from ioi_lab.models.heads import head_name
from ioi_lab.reports.charts import Map, Ranking
from ioi_lab.reports.pages import attention_page
from ioi_lab.reports.report import Report, ReportContext, scalars, tidy_table
from ioi_lab.reports.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from ioi_lab.interventions.attention.measure import AttentionResult

SUMMARY_ROWS: Final = 5


def attention_report(result: AttentionResult, context: ReportContext) -> Report:
    """Return the report: the layer × head map, pages of patterns, the chosen heads large, and the page to explore."""
    report = Report(
        table=_table(result),
        metrics=_metrics(result),
        draw=partial(attention_figures, result, context),
        summary=_summary(result),
        files={"attention.html": _page(result, context).encode()},
        charts=[
            chart
            for key in result.weights
            for chart in (
                Ranking(f"attention_to_{key}", f"to_{key}", ("layer", "head")),
                Map(f"attention_to_{key}_by_head", f"to_{key}", "layer", "head"),
            )
        ],
    )
    return with_texts(report, result, context, _comparison_lines(result))


def _table(result: AttentionResult) -> pd.DataFrame:
    heads = sorted(result.ranking)
    selectors = [
        {"component": "pattern", "layer": layer, "head": head, "position": result.query, "run": result.which}
        for layer, head in heads
    ]
    rows = [result.row(head) for head in heads]
    return tidy_table(selectors, {f"to_{key}": weights.rows(rows) for key, weights in result.weights.items()})


def _metrics(result: AttentionResult) -> dict[str, float]:
    """Return the baselines, the attention of the head that leads, and the overlap with a patching run."""
    metrics = result.baselines.metrics() | {"n_heads": len(result.ranking)}
    layer, head = result.leading[0]
    metrics |= {"best_layer": layer, "best_head": head}
    for key, weights in result.weights.items():
        metrics |= scalars(f"best_to_{key}", weights, result.row((layer, head)))
    if (comparison := result.comparison) is not None:
        metrics |= {
            "k": len(result.leading),
            "overlap": comparison.overlap,
            "overlap_by_chance": comparison.overlap_by_chance,
        }
    return metrics


def _summary(result: AttentionResult) -> list[str]:
    names = list(result.weights)
    lines = [
        f"heads by attention from {result.query} to {names[0]}, mean over {result.which} prompts (a ranking without a "
        "test):",
        "  head  " + "".join(f"{name:>11}" for name in names),
    ]
    for head in result.ranking[:SUMMARY_ROWS]:
        values = [weights.value[result.row(head)] for weights in result.weights.values()]
        lines.append(f"  {head_name(head):<6}" + "".join(f"{value:11.3f}" for value in values))
    return lines + _comparison_lines(result)


def _comparison_lines(result: AttentionResult) -> list[str]:
    """Return how far the heads that attend most are those with the largest effect in a patching run."""
    if (comparison := result.comparison) is None:
        return []
    listed = ", ".join(f"{head_name(head)} ({result.means[head]:.2f})" for head in comparison.top)
    ranked, count = comparison.ranked, len(comparison.top)
    tested = "without tests there"
    if ranked.found is not None:
        tested = f"{len(ranked.found & set(comparison.top)) or 'none'} of them distinguishable from 0 there"
    return [
        f"the {counted(count, 'head')} with the largest effect in {ranked.title}, {tested}, with this attention: "
        f"{listed}",
        f"{comparison.overlap} of them are among the {len(result.leading)} that attend most to "
        f"{next(iter(result.weights))} ({comparison.overlap_by_chance:.2f} by chance)",
    ]


def _page(result: AttentionResult, context: ReportContext) -> str:
    shown = result.shown
    title = f"Attention patterns of {shown_title(result, context)}"
    return attention_page(title, shown.tokens, shown.pair.labels, shown.patterns, (result.drawn or result.leading)[0])
