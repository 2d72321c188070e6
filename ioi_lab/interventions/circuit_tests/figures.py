"""The figures of the tests of a circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.circuits.counterfactuals import ABLATIONS
from ioi_lab.circuits.validity.ablation_choice import UNITS
from ioi_lab.interventions.circuit_tests.measure import CircuitTestsResult
from ioi_lab.interventions.circuit_tests.verdicts import KINDS
from ioi_lab.reports import plots
from ioi_lab.reports.report import ReportContext
from ioi_lab.reports.wording import counted, plain
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_INCLUSION_BARS: Final = 40


def figures_of(result: CircuitTestsResult, context: ReportContext) -> dict[str, Figure]:
    """Return all figures by name."""
    data = context.data_title(len(result.subject.split.evaluation))
    figures = {
        "random_circuits": _random(result, data),
        "minimality": _minimality(result, data, context),
        "ablations": _ablations(result, data),
        "inclusion": _inclusion(result, context),
    }
    if result.completeness:
        figures["completeness"] = _completeness(result, data)
    return figures


def _random(result: CircuitTestsResult, data: str) -> Figure:
    """Draw f of the circuit and of the model without it next to those of random circuits."""
    without = result.necessity[0].faithfulness
    marked = [_marked("the circuit", result.faithfulness), _marked("the model without it", without)]
    samples = [
        plots.Samples(f"{prefix}{KINDS[each.kind]}", each.random, threshold=np.nan)
        for prefix, comparisons in (("", result.sufficiency), ("the model without ", result.necessity))
        for each in comparisons
        if not each.why_not
    ]
    n_edges = int(result.subject.circuit.sum())
    return plots.spreads(
        marked,
        samples,
        "faithfulness f",
        f"A circuit of {counted(n_edges, 'edge')} next to random ones of as many\n{data}",
    )


def _marked(name: str, f: Estimate) -> plots.Marked:
    return plots.Marked(name, float(f.value[0]), float(f.low[0]), float(f.high[0]))


def _minimality(result: CircuitTestsResult, data: str, context: ReportContext) -> Figure:
    test, names = result.minimality, result.subject.graph.names
    order = np.argsort(-np.abs(test.changes.value), kind="stable")
    note = ""
    if len(test.added):
        note = (
            f"\n{len(test.added)} edges added at random change f by {np.median(np.abs(test.added)):.2g} in the median"
        )
    return plots.ranked_bars(
        plots.Axis("edge e", [names[edge] for edge in test.edges[order]]),
        test.changes.value[order],
        test.changes.low[order],
        test.changes.high[order],
        value_label="f(C) − f(C∖e)",
        title=f"Minimality: the {len(test.edges)} weakest of {test.n_edges} edges{note}\n{data}",
        pale=~test.needed[order],
        over=context.over,
        pale_note="no more than edges added at random (Bonferroni)",
    )


def _ablations(result: CircuitTestsResult, data: str) -> Figure:
    values = np.full((len(ABLATIONS), len(UNITS)), np.nan)
    for each in result.ablations:
        if each.faithfulness is not None:
            values[ABLATIONS.index(each.ablation), UNITS.index(each.unit)] = each.faithfulness.value[0]
    blank = "\nblank: not possible on these prompts" if np.isnan(values).any() else ""
    return plots.heat_maps(
        {"": values},
        plots.Axis("what ablated edges carry", [plain(each) for each in ABLATIONS]),
        plots.Axis("what is kept", ["its edges", "its nodes"]),
        f"Faithfulness of one circuit by the choice of ablation{blank}\n{data}",
        "faithfulness f",
        floor=1.0,
    )


def _inclusion(result: CircuitTestsResult, context: ReportContext) -> Figure:
    """Draw how often each edge is found: the rarest ones of the circuit, and the most frequent others."""
    test, circuit, names = result.stability, result.subject.circuit, result.subject.graph.names
    order = np.argsort(-test.inclusion, kind="stable")
    inside = order[circuit[order]][-_MAX_INCLUSION_BARS // 2 :]
    others = order[~circuit[order] & (test.inclusion[order] > 0)][: _MAX_INCLUSION_BARS // 2]
    edges = np.concatenate([inside, others])
    edges = edges[np.argsort(-test.inclusion[edges], kind="stable")]
    values, unknown = test.inclusion[edges], np.full(len(edges), np.nan)
    n_inside = int(circuit.sum())
    which = "" if n_inside == len(inside) else f"its {len(inside)} rarest edges of {n_inside} "
    title = (
        f"How often {which or 'the edges of the circuit '}and others are found on {len(test.with_circuit)} resamples\n"
        f"mean overlap of pairs (Jaccard) {test.mean:.2f}\n{context.data_title(len(result.subject.scores))}"
    )
    return plots.ranked_bars(
        plots.Axis("edge", [names[edge] for edge in edges]),
        values,
        unknown,
        unknown,
        value_label="share of resamples",
        title=title,
        pale=~circuit[edges],
        pale_note="not in the circuit",
    )


def _completeness(result: CircuitTestsResult, data: str) -> Figure:
    groups = {}
    for kind in ("random", "greedy"):
        sets = [each for each in result.completeness if each.kind == kind]
        if sets:
            values = [[getattr(each, part).value[0] for each in sets] for part in ("model", "circuit")]
            groups[kind] = (np.array(values[0]), np.array(values[1]))
    return plots.grouped_scatter(
        {"": groups},
        "f(G∖K): the model without K",
        "f(C∖K): the circuit without K",
        f"Completeness: f without sets K of nodes\n{data}",
        line="complete",
    )
