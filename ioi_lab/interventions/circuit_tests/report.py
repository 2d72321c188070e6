"""The report of the tests of a circuit: statistics in `results.csv`, edges, sets and groups in tables of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.interventions.circuit_tests.figures import figures_of
from ioi_lab.interventions.circuit_tests.measure import CircuitTestsResult
from ioi_lab.interventions.circuit_tests.texts import with_texts
from ioi_lab.interventions.circuit_tests.verdict import Verdict, outcomes
from ioi_lab.interventions.circuit_tests.verdicts import subject_line, verdicts
from ioi_lab.reports.charts import Ranking
from ioi_lab.reports.report import Report, ReportContext, per_prompt_file, scalars, tidy_table
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Readout
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    import pandas as pd

COUNTED: Final = {"holds": "tests_hold", "fails": "tests_fail", "not shown": "tests_not_shown"}
"""The metrics that count the tests that end in each way."""


def report_circuit_tests(result: CircuitTestsResult, context: ReportContext) -> Report:
    """Return the whole report."""
    found = verdicts(result)
    baselines = result.baselines
    tables = {
        "minimality.csv": _minimality_table(result),
        "stability.csv": _stability_table(result),
        "ablations.csv": _ablation_table(result),
        "completeness.csv": _completeness_table(result),
        "by_group.csv": _group_table(result),
        "self_repair.csv": _self_repair_table(result),
    }
    files = {name: csv_bytes(table) for name, table in tables.items() if len(table)}
    report = Report(
        table=_table(found),
        metrics=_metrics(result, found),
        draw=lambda: figures_of(result, context),
        summary=[subject_line(result), *(f"  {each.line}" for each in found), f"tests in all: {outcomes(found)}"],
        files=files
        | per_prompt_file(Readout(result.logit_diff), baselines.clean.logit_diff[0], baselines.corrupted.logit_diff[0]),
        charts=[Ranking("inclusion", "inclusion", ("edge",), table="stability")],
        headline="tests_hold",
    )
    return with_texts(report, result, context, found)


def _table(found: list[Verdict]) -> pd.DataFrame:
    """Return a row per statistic of each test."""
    rows, values = [], []
    for each in found:
        for statistic in each.statistics:
            row = {"test": each.test, "statistic": statistic.name, "reference": statistic.reference}
            rows.append(row | {"verdict": each.outcome})
            values.append(statistic.value)
    return tidy_table(rows, {"value": Estimate.joined(values)})


def _metrics(result: CircuitTestsResult, found: list[Verdict]) -> dict[str, float]:
    subject = result.subject
    metrics: dict[str, float] = result.baselines.metrics() | {
        "n_edges": subject.graph.n_edges,
        "circuit_n_edges": int(subject.circuit.sum()),
        "n_discovery": len(subject.split.discovery),
        "n_evaluation": len(subject.split.evaluation),
    }
    metrics |= scalars("circuit_faithfulness", result.faithfulness)
    metrics |= {name: sum(each.outcome == outcome for each in found) for outcome, name in COUNTED.items()}
    for each in found:
        for statistic in each.statistics:
            metrics |= scalars(f"{each.test}_{statistic.name}", statistic.value)
    return metrics


def _frame(rows: list[dict[str, Any]], estimates: dict[str, list[Estimate]]) -> pd.DataFrame:
    """Return a table with a row each, and estimates with their bounds."""
    import pandas as pd

    table = pd.DataFrame(rows)
    for name, values in estimates.items():
        if values:
            joined = Estimate.joined(values)
            table[name], table[f"{name}_low"], table[f"{name}_high"] = joined.value, joined.low, joined.high
    return table


def _minimality_table(result: CircuitTestsResult) -> pd.DataFrame:
    test, subject = result.minimality, result.subject
    scores = subject.scores.mean(axis=0)
    rows = [
        {
            "edge": subject.graph.names[edge],
            "score": scores[edge],
            "p_value": test.p_value[row] if len(test.added) else np.nan,
            "needed": bool(test.needed[row]),
        }
        for row, edge in enumerate(test.edges.tolist())
    ]
    return _frame(rows, {"change": [test.changes]})


def _stability_table(result: CircuitTestsResult) -> pd.DataFrame:
    """Return a row per edge that is in the circuit of some resample, or in the circuit itself."""
    inclusion, circuit, names = result.stability.inclusion, result.subject.circuit, result.subject.graph.names
    edges = np.flatnonzero((inclusion > 0) | circuit)
    edges = edges[np.argsort(-inclusion[edges], kind="stable")].tolist()
    rows = [{"edge": names[edge], "inclusion": inclusion[edge], "in_circuit": bool(circuit[edge])} for edge in edges]
    return _frame(rows, {})


def _ablation_table(result: CircuitTestsResult) -> pd.DataFrame:
    unknown = Estimate(*np.full((3, 1), np.nan))
    choices = result.ablations
    rows = [{"ablation": each.ablation, "unit": each.unit, "why_not": each.why_not} for each in choices]
    return _frame(rows, {"faithfulness": [each.faithfulness or unknown for each in choices]})


def _completeness_table(result: CircuitTestsResult) -> pd.DataFrame:
    sets = result.completeness
    rows = [{"kind": each.kind, "label": each.label, "nodes": " ".join(each.nodes)} for each in sets]
    estimates = {name: [getattr(each, name) for each in sets] for name in ("circuit", "model", "difference")}
    return _frame(rows, estimates)


def _group_table(result: CircuitTestsResult) -> pd.DataFrame:
    rows = [
        {"by": group.by, "group": name, "n_prompts": count}
        for group in result.groups
        for name, count in zip(group.names, group.n_prompts, strict=True)
    ]
    return _frame(rows, {"faithfulness": [group.faithfulness for group in result.groups]})


def _self_repair_table(result: CircuitTestsResult) -> pd.DataFrame:
    test = result.self_repair
    rows = [
        {"first": first, "second": second, "found": bool(test.found[row]), "beyond_sum": bool(test.beyond_sum[row])}
        for row, (first, second) in enumerate(test.pairs)
    ]
    estimates = {"first_loss": test.first, "second_loss": test.second, "joint_loss": test.joint, "excess": test.excess}
    return _frame(rows, {name: [estimate] for name, estimate in estimates.items()})
