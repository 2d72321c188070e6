from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest

from ioi_lab.interventions.circuit_tests.report import COUNTED, report_circuit_tests
from ioi_lab.interventions.circuit_tests.verdict import outcomes
from ioi_lab.interventions.circuit_tests.verdicts import verdicts
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("a model", "a task")


@pytest.fixture(scope="module")
def report(right):
    return report_circuit_tests(right, CONTEXT)


def tables(report):
    return {name: pd.read_csv(BytesIO(text)) for name, text in report.files.items() if name.endswith(".csv")}


def test_results_have_a_row_per_statistic(right, report):
    expected = [(each.test, statistic.name) for each in verdicts(right) for statistic in each.statistics]
    assert list(zip(report.table["test"], report.table["statistic"], strict=True)) == expected
    first = report.table.iloc[0]
    assert first["value"] == right.faithfulness.value[0]
    assert first["value_low"] == right.faithfulness.low[0]
    assert set(report.table["verdict"]) <= {"holds", "fails", "not shown", "not testable"}


def test_metrics_are_those_of_the_table(right, report):
    for row in report.table.itertuples():
        assert report.metrics[f"{row.test}_{row.statistic}"] == row.value
    counts = [sum(each.outcome == outcome for each in verdicts(right)) for outcome in COUNTED]
    assert [report.metrics[name] for name in COUNTED.values()] == counts
    assert report.headline in report.metrics
    assert report.metrics["circuit_n_edges"] == 5


def test_tables_of_edges_sets_and_groups(right, report):
    found = tables(report)
    assert set(found) == {
        "minimality.csv", "stability.csv", "ablations.csv", "completeness.csv", "by_group.csv", "self_repair.csv",
    }  # fmt: skip
    assert found["minimality.csv"]["change"].tolist() == pytest.approx(right.minimality.changes.value.tolist())
    inclusion = found["stability.csv"]
    assert inclusion["inclusion"].is_monotonic_decreasing
    assert inclusion["in_circuit"].sum() == 5
    assert found["ablations.csv"]["faithfulness"].notna().sum() == sum(
        each.faithfulness is not None for each in right.ablations
    )
    sets = found["completeness.csv"]
    assert (sets["circuit"] - sets["model"]).tolist() == pytest.approx(sets["difference"].tolist())
    assert found["by_group.csv"]["n_prompts"].sum() == 16
    assert found["self_repair.csv"]["joint_loss"].tolist() == pytest.approx(right.self_repair.joint.value.tolist())


def test_tables_without_rows_are_left_out(right):
    bare = replace(right, completeness=[], groups=[])
    assert {"completeness.csv", "by_group.csv"}.isdisjoint(report_circuit_tests(bare, CONTEXT).files)


def test_every_test_has_a_line_in_the_summary(right, report):
    assert [f"  {each.line}" for each in verdicts(right)] == report.summary[1:-1]
    n_holding = sum(each.outcome == "holds" for each in verdicts(right))
    assert report.summary[-1] == f"tests in all: {outcomes(verdicts(right))}"
    assert report.summary[-1].startswith(f"tests in all: {n_holding} hold (sufficiency, ")
    per_prompt = pd.read_parquet(BytesIO(report.files["per_prompt.parquet"]))
    assert per_prompt["logit_diff"].tolist() == pytest.approx(right.logit_diff[0].tolist())
