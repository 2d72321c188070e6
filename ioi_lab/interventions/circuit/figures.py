"""The figures of circuits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.circuits.comparison import class_sums, jaccard
from ioi_lab.circuits.faithfulness import band
from ioi_lab.interventions.circuit.result import ACDC, GIVEN, CircuitResult, MethodCurve
from ioi_lab.reports import plots
from ioi_lab.reports.plots.lines import Line
from ioi_lab.reports.report import ReportContext
from ioi_lab.reports.wording import intervals_over, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEAR_HALF: Final = 0.1
"""How near to 0.5 the faithfulness of a logit difference of 0 has to be for a line there."""

_METHOD_NAMES: Final = {
    "eap": "EAP",
    "eap_ig_inputs": "EAP-IG (inputs)",
    "eap_ig_activations": "EAP-IG (activations)",
    "clean_corrupted": "clean-corrupted",
    "acdc": "ACDC",
}


def figures_of(result: CircuitResult, context: ReportContext) -> dict[str, Figure]:
    """Return all figures by name."""
    figures = {"circuit": _graph(result, context)}
    curves = [curve for curve in result.curves if curve.ranking == result.first.ranking]
    along = [curve for curve in curves if curve.is_nested]
    if along:
        figures["faithfulness"] = _faithfulness(result, along, context)
    if (of_classes := _classes(result, context)) is not None:
        figures["edges_by_class"] = of_classes
    if len(result.scores) > 1:
        figures["method_agreement"] = plots.method_agreement(
            [method_name(method) for method in result.scores],
            result.correlations,
            f"Rank correlation of scores over {result.graph.n_edges:,} edges\n{_discovery(result, context)}",
        )
        if len(along) > 1:
            figures["circuit_overlap"] = _overlap(along, result, context)
    return figures


def _data(result: CircuitResult, context: ReportContext) -> str:
    """Return the last line of titles about the prompts of evaluation."""
    apart = ", other names than those of discovery" if result.split.are_apart else ""
    return context.data_title(len(result.split.evaluation)) + apart


def _discovery(result: CircuitResult, context: ReportContext) -> str:
    """Return the last line of titles about the prompts of discovery."""
    return context.data_title(len(result.split.discovery))


def method_name(method: str) -> str:
    """Return the name of a method as papers write it."""
    return _METHOD_NAMES.get(method, plain(method))


def _graph(result: CircuitResult, context: ReportContext) -> Figure:
    first, size = result.first, result.chosen
    scores = None if first.method == GIVEN else next(iter(result.scores.values())).value[result.circuit]
    names = [name for name, kept in zip(result.graph.names, result.circuit, strict=True) if kept]
    f = first.curve.faithfulness.value[size]
    if first.method == GIVEN:
        how = "a given circuit"
    elif first.method == ACDC:
        how = f"circuit by ACDC, scores by {method_name(next(iter(result.scores)))}"
    else:
        how = f"circuit by {method_name(first.method)}, {first.ranking} scores"
    title = f"{how}\n{len(names):,} of {result.graph.n_edges:,} edges, faithfulness {f:.2f}"
    shared = result.graph.shape.n_heads // result.graph.shape.n_kv_heads
    return plots.edge_graph(names, scores, f"{title[0].upper()}{title[1:]}\n{_data(result, context)}", "", shared)


def _faithfulness(result: CircuitResult, curves: list[MethodCurve], context: ReportContext) -> Figure:
    first = curves[0].curve
    random = None
    if curves[0] is result.first:
        middle = band(result.controls.uniform)
        name = f"{len(result.controls.uniform)} random rankings"
        random = Line(name, middle.value, middle.low, middle.high)
    empty = result.baselines.corrupted.logit_diff.mean() if result.keys.ablation == "corrupted" else np.nan
    at_zero = -empty / (result.baselines.clean.logit_diff.mean() - empty)
    return plots.faithfulness_curves(
        first.shares,
        first.edges if len(curves) == 1 else curves[0].found.asked,
        [_line(curve) for curve in curves if len(curve.found.asked) == len(first.shares)],
        f"Faithfulness of circuits by {curves[0].ranking} scores, {plain(result.keys.ablation)} ablation\n"
        f"{_data(result, context)}",
        intervals_over(context.over),
        random=random,
        half="0.5: logit difference 0, chance" if abs(at_zero - 0.5) < _NEAR_HALF else "",
    )


def _line(curve: MethodCurve) -> Line:
    f = curve.curve.faithfulness
    return Line(method_name(curve.method), f.value, f.low, f.high)


def _classes(result: CircuitResult, context: ReportContext) -> Figure | None:
    """Draw the edges by the attention patterns of heads; None if no head has one, or some edge has no score."""
    scores = next(iter(result.scores.values())).value
    if not np.isfinite(scores[result.circuit]).all():
        return None
    sums = class_sums(result.graph, result.circuit, scores, result.classes)
    if not set(result.classes.values()) & set(sums.writers):
        return None
    return plots.class_matrix(
        sums.scores,
        sums.counts,
        sums.writers,
        sums.readers,
        "Edges of the circuit by the attention pattern of heads on repeated random tokens\n" + _data(result, context),
    )


def _overlap(curves: list[MethodCurve], result: CircuitResult, context: ReportContext) -> Figure:
    first, unknown = curves[0], np.full(len(curves[0].found.asked), np.nan)
    lines = []
    for curve in curves[1:]:
        both = zip(first.found.circuits, curve.found.circuits, strict=True)
        shared = np.array([jaccard(np.stack(pair))[0, 1] for pair in both])
        lines.append(Line(method_name(curve.method), shared, unknown, unknown))
    return plots.jaccard_curves(
        first.curve.shares,
        first.found.asked,
        lines,
        method_name(first.method),
        f"Overlap of circuits of equal size\n{_discovery(result, context)}",
        intervals_over(context.over),
    )
