"""The report of circuits: curves in `results.csv`, edges and the circuit in files of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.circuits.comparison import jaccard
from ioi_lab.circuits.faithfulness import FAITHFUL, band
from ioi_lab.circuits.files import EDGE_SCORES, FILE, CircuitFile, importances
from ioi_lab.circuits.graph import REST
from ioi_lab.interventions.circuit.figures import figures_of
from ioi_lab.interventions.circuit.result import ACDC, GIVEN, CircuitResult, MethodCurve
from ioi_lab.interventions.circuit.texts import with_texts
from ioi_lab.reports.charts import Curves, Ranking
from ioi_lab.reports.report import Report, ReportContext, per_prompt_file, scalars, tidy_table
from ioi_lab.reports.wording import counted, interval
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    import pandas as pd

EDGES: Final = "edges.csv"
CURVE: Final = "curve.csv"
CONTROLS: Final = "controls.csv"
IMPORTANCES: Final = "importances.json"
PER_PROMPT_SCORES: Final = "edge_scores.safetensors"
_SUMMARY_EDGES: Final = 8
_ANSWER_EDGES: Final = 4


def report_circuit(result: CircuitResult, context: ReportContext) -> Report:
    """Return the whole report."""
    curve = _curve_table(result)
    files = {
        EDGES: csv_bytes(_edge_table(result)),
        CURVE: csv_bytes(curve),
        CONTROLS: csv_bytes(_control_table(result)),
        **_circuit_files(result, context),
    }
    report = Report(
        table=curve,
        metrics=_metrics(result),
        draw=lambda: figures_of(result, context),
        summary=_summary(result),
        files=files | per_prompt_file(_joined(result), *_ends(result)),
        charts=[
            Curves("faithfulness", "k", "faithfulness", ("method", "ranking")),
            Ranking("edges", "score", ("edge",), table="edges"),
        ],
        headline="circuit_faithfulness",
    )
    return with_texts(
        report,
        result,
        context,
        carried=_carried(result),
        edges=_largest_edges(result),
    )


def _joined(result: CircuitResult) -> Readout:
    """Return the readouts of all curves, in the rows of the table."""
    return Readout(np.concatenate([curve.readout.logit_diff for curve in result.curves]))


def _ends(result: CircuitResult) -> tuple[Any, Any]:
    return result.baselines.clean.logit_diff[0], result.baselines.corrupted.logit_diff[0]


def _curve_table(result: CircuitResult) -> pd.DataFrame:
    """Return a row per circuit: those of the first method and the configured ranking first."""
    rows, estimates = [], []
    for curve in result.curves:
        for size in range(len(curve.found.asked)):
            rows.append(
                {
                    "method": curve.method,
                    "ranking": curve.ranking,
                    "k": float(curve.curve.shares[size]),
                    "edges_asked": int(curve.found.asked[size]),
                    "edges_kept": int(curve.found.kept[size]),
                    "nodes": curve.n_nodes[size],
                }
            )
        each = {"faithfulness": curve.curve.faithfulness, "accuracy": curve.accuracy}
        estimates.append(each if curve.kl is None else each | {"kl": curve.kl})
    names = list(estimates[0])
    return tidy_table(rows, {name: Estimate.joined([each[name] for each in estimates]) for name in names})


def _edge_table(result: CircuitResult) -> pd.DataFrame:
    """Return a row per method and edge."""
    import pandas as pd

    graph = result.graph
    writers, readers = [each.name for each in graph.writers], [each.name for each in graph.readers]
    labels = [*graph.labels, REST] if graph.labels else ["all"]
    columns = {
        "edge": graph.names,
        "writer": [writers[writer] for writer in graph.edge_writer],
        "reader": [readers[reader] for reader in graph.edge_reader],
        "input": [graph.readers[reader].input for reader in graph.edge_reader],
        "layer": [graph.readers[reader].layer for reader in graph.edge_reader],
        "position": [labels[label] for label in graph.edge_label],
    }
    tables = []
    for method, estimate in result.scores.items():
        goodness = np.abs(estimate.value) if result.keys.ranking == "absolute" else estimate.value
        rank = pd.Series(goodness).rank(ascending=False, method="first").astype("Int64")  # without scores, no ranks
        values = {"score": estimate.value, "score_low": estimate.low, "score_high": estimate.high, "rank": rank}
        tables.append(pd.DataFrame({"method": method, **columns, **values, "in_circuit": result.circuit}))
    return pd.concat(tables, ignore_index=True)


def _control_table(result: CircuitResult) -> pd.DataFrame:
    """Return a row per size and kind of random circuits: the median faithfulness, and what 95 % of them are between."""
    import pandas as pd

    first, tables = result.first, []
    for kind in ("uniform", "matched"):
        values = getattr(result.controls, kind)
        middle = band(values)
        columns = {"k": first.curve.shares, "edges_asked": first.found.asked, "circuits": len(values)}
        estimates = {"faithfulness": middle.value, "faithfulness_low": middle.low, "faithfulness_high": middle.high}
        tables.append(pd.DataFrame({"kind": kind, **columns, **estimates}))
    return pd.concat(tables, ignore_index=True)


def _circuit_files(result: CircuitResult, context: ReportContext) -> dict[str, bytes]:
    keys, first = result.keys, result.first
    method = next(iter(result.scores))
    scores = result.scores[method].value
    f = first.curve.faithfulness.rows([result.chosen])
    file = CircuitFile.of(
        result.graph,
        result.circuit,
        result.origin,
        scores,
        description=f"{context.model}, {context.task}",
        method=method,
        objective=keys.objective,
        ranking=first.ranking,
        search=keys.search,
        nodes=keys.nodes,
        ablation=keys.ablation,
        size=float(first.found.asked[result.chosen]),
        faithfulness=float(f.value[0]),
        faithfulness_low=float(f.low[0]),
        faithfulness_high=float(f.high[0]),
    )
    files = {FILE: json.dumps(file.model_dump(), indent=1).encode()}
    if np.isfinite(scores).all():
        files[IMPORTANCES] = json.dumps(importances(result.graph, scores, result.circuit)).encode()
    if result.per_prompt is not None:
        files[PER_PROMPT_SCORES] = _per_prompt_scores(result, result.per_prompt)
    return files


def _per_prompt_scores(result: CircuitResult, scores: Float[Array, "prompt edge"]) -> bytes:
    """Return the scores of the first method in each prompt, from which those of any of the prompts follow."""
    import torch

    prompts = torch.tensor(result.split.discovery, dtype=torch.float32)
    tensors = {"scores": torch.from_numpy(scores.astype(np.float32)), "prompts": prompts}
    return EDGE_SCORES.content(tensors, result.origin, method=next(iter(result.scores)))


def _metrics(result: CircuitResult) -> dict[str, float]:
    first = result.first
    f = first.curve.faithfulness
    metrics: dict[str, float] = result.baselines.metrics() | {
        "n_edges": result.graph.n_edges,
        "n_discovery": len(result.split.discovery),
        "n_evaluation": len(result.split.evaluation),
        "circuit_edges": int(result.circuit.sum()),
        "circuit_nodes": first.n_nodes[result.chosen],
        "circuit_edges_asked": int(first.found.asked[result.chosen]),
    }
    metrics |= scalars("circuit_faithfulness", f, result.chosen)
    metrics["circuit_faithfulness_discovery"] = float(result.discovery_faithfulness[result.chosen])
    for kind in ("uniform", "matched"):
        values = getattr(result.controls, kind)[:, result.chosen]
        metrics |= {f"random_{kind}_faithfulness": float(np.median(values))}
        metrics |= {f"random_{kind}_highest": float(values.max())}
    for curve in result.curves:
        if curve.is_nested:
            name = curve.method if curve.ranking == result.keys.ranking else f"{curve.method}_{curve.ranking}"
            for what, estimate in curve.curve.summary.items():
                metrics |= scalars(f"{name}_{what}", estimate)
    for index, method in enumerate(list(result.scores)[1:], start=1):
        if np.isfinite(result.correlations[0, index]):
            metrics[f"rank_correlation_{method}"] = float(result.correlations[0, index])
    return metrics


def _summary(result: CircuitResult) -> list[str]:
    first, split = result.first, result.split
    lines = [f"{result.graph.n_edges:,} edges; ablated edges carry {_carried(result)}"]
    if split.are_apart:
        lines.append(
            f"found on {counted(len(split.discovery), 'prompt')}, evaluated on {len(split.evaluation)} with other names"
            + (f"; {split.n_unused} have a name of each part and are not used" if split.n_unused else "")
        )
    elif first.method != GIVEN:
        lines.append("found and evaluated on the same prompts, so faithfulness may be overstated")
    for curve in result.curves:
        if curve.ranking == first.ranking and curve.is_nested:
            lines.append(_curve_line(curve))
        if curve.method == ACDC:
            lines.append(_orders_line(curve))
    lines += [_circuit_line(result), *_control_lines(result), *_edge_lines(result)]
    return lines


def _carried(result: CircuitResult) -> str:
    return {
        "corrupted": "what their writer writes in the corrupted prompt",
        "mean": "their writer's mean over corrupted prompts and positions",
        "mean_by_position": "their writer's mean at each position over corrupted prompts with the same sentence",
        "zero": "nothing",
    }[result.keys.ablation]


def _curve_line(curve: MethodCurve) -> str:
    summary = curve.curve.summary
    edges = summary.edges.value[0]
    reached = f"{edges:,.0f} edges" if np.isfinite(edges) else "no size"
    return (
        f"  {curve.method} ({curve.ranking}): CMD {interval(summary.cmd)}, CPR {interval(summary.cpr)}; over log k "
        f"{interval(summary.cmd_log)}, {interval(summary.cpr_log)}; f ≥ {FAITHFUL:g} with {reached}"
    )


def _orders_line(curve: MethodCurve) -> str:
    """Return what ACDC finds in each order in which it tries edges."""
    found, f = curve.found, curve.curve.faithfulness
    each = [f"{kept} edges, f = {value:.2f}" for kept, value in zip(found.kept, f.value, strict=True)]
    overlap = jaccard(found.circuits)[np.triu_indices(len(each), 1)]
    shared = f"; mean Jaccard index of two orders {overlap.mean():.2f}" if len(overlap) else ""
    return f"  ACDC in {counted(len(each), 'order')}: {'; '.join(each)}{shared}"


def _circuit_line(result: CircuitResult) -> str:
    first, size = result.first, result.chosen
    asked, kept = int(first.found.asked[size]), int(first.found.kept[size])
    dropped = f" ({asked:,} asked for; the others connect nothing)" if kept < asked else ""
    return (
        f"circuit by {first.method}: {counted(kept, 'edge')}{dropped}, {counted(first.n_nodes[size], 'head or MLP')}: "
        f"faithfulness {interval(first.curve.faithfulness, size)}"
    ).replace("head or MLPs", "heads and MLPs")


def _control_lines(result: CircuitResult) -> list[str]:
    size, lines = result.chosen, []
    if result.first.found.kept[size] == result.graph.n_edges:
        return ["  it has all edges, so no random circuit can be compared with it"]
    distance = abs(1 - result.first.curve.faithfulness.value[size])
    for kind, text in (("uniform", "random circuits of this size"), ("matched", "with as many edges of each class")):
        values = getattr(result.controls, kind)[:, size]
        estimate = band(values[:, None])
        n_worse = int((np.abs(1 - values) > distance).sum())
        lines.append(f"  {len(values)} {text}: median {interval(estimate)}, {n_worse} of them less faithful")
    return lines


def _edge_lines(result: CircuitResult) -> list[str]:
    if result.first.method == GIVEN:
        return []
    method, scores = next(iter(result.scores.items()))
    largest = _ranked_edges(scores)[:_SUMMARY_EDGES]
    unit = "logits" if result.keys.objective == "logit_diff" else "nats"
    lines = [f"edges with the largest scores by {method}, in {unit} (not corrected for the choice of the largest):"]
    return lines + [f"  {result.graph.names[edge]:<18} {interval(scores, edge)}" for edge in largest]


def _largest_edges(result: CircuitResult) -> list[str]:
    """Return the edges of the circuit with the largest scores; none for a circuit that was given."""
    if result.first.method == GIVEN:
        return []
    scores = next(iter(result.scores.values()))
    largest = [edge for edge in _ranked_edges(scores) if result.circuit[edge]][:_ANSWER_EDGES]
    return [f"{result.graph.names[edge]} ({interval(scores, edge)})" for edge in largest]


def _ranked_edges(scores: Estimate) -> list[int]:
    """Return the edges from the largest score, in either direction, to the smallest."""
    return [int(edge) for edge in np.argsort(-np.abs(scores.value), kind="stable")]
