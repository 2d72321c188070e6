from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest

from ioi_lab.interventions.wang2022.report import report_wang2022
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("a model", "a task")


def test_tables_metrics_and_sentences_read_the_same_fields(result):
    report, circuit = report_wang2022(result, CONTEXT), result.circuit
    assert report.headline == "circuit_share"
    assert report.metrics["circuit_share"] == circuit.share.value[0]
    assert report.metrics["circuit_n_heads"] == len(circuit.heads)
    assert report.table["receiver"].unique().tolist() == [paths.into for paths in result.paths]
    assert set(report.table["mlps"]) == {"free"}
    tables = {name: pd.read_csv(BytesIO(content)) for name, content in report.files.items()}
    assert set(tables) == {"roles.csv", "completeness.csv", "minimality.csv"}
    sets = tables["completeness.csv"]
    assert (sets["circuit"] - sets["model"]).to_numpy() == pytest.approx(sets["difference"].to_numpy())
    for kind, rows in sets.groupby("kind"):
        assert report.metrics[f"incompleteness_{kind}"] == pytest.approx(rows["difference"].abs().max())
    needed = tables["minimality.csv"]
    assert needed["head"].tolist() == [head.name for head in circuit.heads]
    assert report.metrics["least_minimality"] == pytest.approx(needed["change"].abs().min())
    names = " ".join(head.name for head in circuit.heads)
    assert (
        f"circuit of the {len(circuit.heads)} heads with a role, found on the same prompts: {names}" in report.summary
    )
    assert report.metrics["random_circuits_highest"] == circuit.random.max()
    below = sum(value < circuit.alone.value[0] for value in circuit.random)
    assert report.metrics["n_random_circuits_below"] == below
    (random,) = (line for line in report.summary if line.startswith("  3 other circuits of as many random heads"))
    assert random.endswith(f"{below} of them below F(C)")
    assert f"  F(C) / F(M) = {circuit.share.value[0]:.2f} [" in "\n".join(report.summary)


def test_published_numbers_stand_next_to_those_of_their_model_only(result):
    ours = "\n".join(report_wang2022(result, CONTEXT).summary)
    theirs = report_wang2022(result, ReportContext("gpt2-small", "ioi (abc)")).summary
    assert "Wang et al. 2022:" not in ours
    published = [line.split("(Wang et al. 2022: ")[1].split(")")[0] for line in theirs if "(Wang et al. 2022: " in line]
    assert published == ["3.56", "0.993", "0.49", "26", "0.87"]


def test_without_a_circuit_the_report_says_so(result):
    report = report_wang2022(replace(result, circuit=None), CONTEXT)
    assert report.summary[-1] == "no head has a role, so there is no circuit to evaluate"
    assert report.headline == "clean_logit_diff"
    assert set(report.files) == {"roles.csv"}
    assert not any(name.startswith("circuit") for name in report.metrics)
