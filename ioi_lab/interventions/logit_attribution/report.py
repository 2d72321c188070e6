"""The report of direct logit attribution: a row per term, the layer × head map, and the largest terms as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.grid_report import MAX_BARS, OUTLINED, cells_of_row
from ioi_lab.interventions.logit_attribution.measure import LogitAttributionResult, Term
from ioi_lab.interventions.logit_attribution.texts import with_texts
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.reports.charts import Map, Ranking
from ioi_lab.reports.report import Report, ReportContext, scalars, tidy_table
from ioi_lab.reports.wording import counted, interval_column, map_note, test_over
from ioi_lab.stats.bootstrap import Over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE: Final = "direct effect on the logit difference\n(logits, answer − distractor)"
SCALE_BEFORE_CAP: Final = "direct effect on the logit difference before the cap\n(logits, answer − distractor)"
SUMMARY_ROWS: Final = 8


def report_logit_attribution(result: LogitAttributionResult, context: ReportContext) -> Report:
    """Return the whole report."""
    selectors = [
        {"component": term.component, "layer": term.layer, "head": term.head, "position": "END"}
        for term in result.terms
    ]
    columns = {
        "direct_effect": result.direct_effect,
        "on_answer": result.on_answer,
        "on_distractor": result.on_distractor,
    }
    data_title = context.data_title(len(result.baselines.prompts))
    report = Report(
        table=tidy_table(selectors, columns),
        metrics=_metrics(result),
        draw=lambda: {
            "direct_effect_by_head": _head_map(result, data_title),
            "top_terms": _bars(result, data_title, context.over),
        },
        summary=_summary(result, context.over),
        charts=[
            Ranking("top_terms", "direct_effect", ("component", "layer", "head")),
            Map("direct_effect_by_head", "direct_effect", "layer", "head"),
        ],
    )
    return with_texts(report, result, [term_name(term) for term in result.terms], context)


def term_name(term: Term) -> str:
    """Return the name of a term: `9.9`, `MLP 3`, `attention bias 3`, `embedding` or `constant`."""
    if term.layer is not None and term.head is not None:
        return head_name((term.layer, term.head))
    kind = {"mlp_out": "MLP", "attn_bias": "attention bias", "embed": "embedding"}.get(term.component, term.component)
    return kind if term.layer is None else f"{kind} {term.layer}"


def _metrics(result: LogitAttributionResult) -> dict[str, float]:
    best = result.terms[result.strongest_head]
    assert best.layer is not None
    assert best.head is not None
    metrics = result.baselines.metrics() | {
        "n_terms": len(result.terms),
        "sum_of_terms": result.sum_of_terms,
        "check_sum_error": result.error,
        "best_row": result.strongest_head,
        "best_layer": best.layer,
        "best_head": best.head,
    }
    if result.logit_cap is not None:
        metrics["logit_cap"] = result.logit_cap
    return metrics | scalars("best_direct_effect", result.direct_effect, result.strongest_head)


def _summary(result: LogitAttributionResult, over: Over) -> list[str]:
    known, rows = result.discoveries.is_known, result.top if result.discoveries.is_known else result.ranking
    terms, note = counted(len(result.terms), "term"), "" if known else ", each of which may be chance (too few prompts)"
    before_cap = "" if result.logit_cap is None else f" before the cap of ±{result.logit_cap:g}"
    lines = [
        f"largest direct effects on the logit difference of {result.logit_diff:.2f}{before_cap}, {result.which} "
        f"prompts{note}:"
    ]
    for row in rows[:SUMMARY_ROWS]:
        lines.append(f"  {term_name(result.terms[row]):<14} {interval_column(result.direct_effect, row)}")
    if known:
        lines.append(f"{len(rows)} of {terms} are distinguishable from 0 {test_over(over)}")
    return [*lines, f"all {terms} add up to it within {result.error:.1e}"]


def _head_map(result: LogitAttributionResult, data_title: str) -> Figure:
    rows, not_found = result.head_rows, result.discoveries.not_found
    layers, heads = (plots.Axis.numbered(*axis) for axis in zip(("layer", "head"), rows.shape, strict=True))
    outlined = [
        cell for row in [row for row in result.top if row in rows][:OUTLINED] for cell in cells_of_row(rows, row)
    ]
    note = map_note(is_outlined=bool(outlined), is_pale=not_found is not None and bool(not_found[rows].any()))
    return plots.heat_maps(
        {"": result.direct_effect.value[rows]},
        layers,
        heads,
        f"{_title(result)}, each head\n{data_title}{note}",
        _scale(result),
        pale=None if not_found is None else {"": not_found[rows]},
        outlined=outlined,
    )


def _bars(result: LogitAttributionResult, data_title: str, over: Over) -> Figure:
    top, effect, not_found = result.ranking[:MAX_BARS], result.direct_effect, result.discoveries.not_found
    return plots.ranked_bars(
        plots.Axis("component", [term_name(result.terms[row]) for row in top]),
        effect.value[top],
        effect.low[top],
        effect.high[top],
        value_label=_scale(result),
        title=f"{_title(result)}, largest first\n{data_title}",
        pale=None if not_found is None else not_found[top],
        over=over,
    )


def _scale(result: LogitAttributionResult) -> str:
    return SCALE if result.logit_cap is None else SCALE_BEFORE_CAP


def _title(result: LogitAttributionResult) -> str:
    return f"Direct logit attribution, {result.which} prompts"
