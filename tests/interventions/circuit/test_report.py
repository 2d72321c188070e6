"""The files of circuits, with what they contain computed anew from the result."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ioi_lab.interventions.circuit.report import report_circuit
from ioi_lab.reports.report import ReportContext
from tests.interventions.circuit.conftest import circuit

CONTEXT = ReportContext("tiny-gpt2", "ioi (s2)")


@pytest.fixture(scope="module")
def report(result):
    return report_circuit(result, CONTEXT)


def table(report, name):
    return pd.read_csv(io.BytesIO(report.files[name]))


def test_edges_have_their_scores_and_ranks(result, report):
    edges = table(report, "edges.csv")
    n_edges = result.graph.n_edges
    assert list(edges.columns) == ["method", "edge", "writer", "reader", "input", "layer", "position", "score",
                                   "score_low", "score_high", "rank", "in_circuit"]  # fmt: skip
    assert len(edges) == 2 * n_edges
    first = edges[edges["method"] == "eap_ig_inputs"]
    assert first["edge"].tolist() == result.graph.names
    assert first["score"].to_numpy() == pytest.approx(result.per_prompt.mean(axis=0), rel=1e-4, abs=1e-6)
    ranked = first.sort_values("rank")
    assert ranked["rank"].tolist() == list(range(1, n_edges + 1))
    assert (np.diff(np.abs(ranked["score"])) <= 1e-6).all()
    assert (first["writer"] + "->" + first["reader"] == first["edge"]).all()
    kinds = first["reader"].str.extract(r"<(\w)>")[0].fillna(first["reader"].where(first["reader"] == "logits", "mlp"))
    assert (first["input"] == kinds).all()
    assert first["in_circuit"].to_numpy().tolist() == result.circuit.tolist()
    assert not (first["score_low"] > first["score"]).any()
    assert first["score_low"].notna().mean() > 0.9


def test_areas_under_curves_are_those_of_the_table(report):
    curves = table(report, "curve.csv")
    for (method, ranking), curve in curves.groupby(["method", "ranking"]):
        name = method if ranking == "absolute" else f"{method}_{ranking}"
        k, f = curve["k"].to_numpy(), curve["faithfulness"].to_numpy()
        assert (np.diff(k) > 0).all()
        assert report.metrics[f"{name}_cpr"] == pytest.approx(np.trapezoid(f, k), abs=1e-4)
        assert report.metrics[f"{name}_cmd"] == pytest.approx(np.trapezoid(np.abs(1 - f), k), abs=1e-4)
        log_k = np.log(k)
        mean = np.trapezoid(f, log_k) / (log_k[-1] - log_k[0])
        assert report.metrics[f"{name}_cpr_log"] == pytest.approx(mean, abs=1e-4)
        faithful = curve[f >= 0.85]["edges_kept"].tolist()
        assert report.metrics[f"{name}_edges"] == faithful[0]
        assert (curve["edges_kept"] <= curve["edges_asked"]).all()
    assert curves["faithfulness"][2] == pytest.approx(1)
    assert curves["accuracy"][2] == 1


def test_the_circuit_is_written_with_its_definition(result, report):
    content = json.loads(report.files["circuit.json"])
    names = [name for name, kept in zip(result.graph.names, result.circuit, strict=True) if kept]
    assert list(content["edges"]) == names
    keys = ("method", "ranking", "search", "nodes", "ablation", "objective")
    assert [content[key] for key in keys] == ["eap_ig_inputs", "absolute", "topn", "edges", "corrupted", "logit_diff"]
    assert content["model"]["name"] == "tiny-gpt2"
    assert content["faithfulness"] == pytest.approx(report.metrics["circuit_faithfulness"])
    mib = json.loads(report.files["importances.json"])
    assert [name for name, edge in mib["edges"].items() if edge["in_graph"]] == names
    assert set(mib["edges"]) == set(result.graph.names)
    assert "edge_scores.safetensors" in report.files


def test_the_summary_says_what_was_measured_where(result, report):
    text = "\n".join(report.summary)
    assert "479 edges; ablated edges carry what their writer writes in the corrupted prompt" in text
    assert (
        f"found on {len(result.split.discovery)} prompts, evaluated on {len(result.split.evaluation)} with other"
        in text
    )
    assert "eap (absolute): CMD" in text
    assert "10 random circuits of this size: median" in text
    same = report_circuit(replace(result, split=replace(result.split, are_apart=False)), CONTEXT)
    assert "found and evaluated on the same prompts, so faithfulness may be overstated" in same.summary
    whole = report_circuit(replace(result, chosen=2), CONTEXT)
    assert "  it has all edges, so no random circuit can be compared with it" in whole.summary


def test_acdc_is_reported_by_order(by_acdc):
    report = report_circuit(by_acdc, CONTEXT)
    (line,) = (line for line in report.summary if "ACDC" in line)
    assert line.startswith("  ACDC in 2 orders: ")
    assert "mean Jaccard index of two orders" in line
    assert "acdc_cmd" not in report.metrics
    file = json.loads(report.files["circuit.json"])
    assert (file["search"], file["method"]) == ("acdc", next(iter(by_acdc.scores)))  # what the edges' scores are by


def test_random_circuits_are_less_faithful_if_they_are_farther_from_one(result):
    """A circuit with f far above 1 is no more faithful than a random one with f = 1."""
    first, size = result.first, result.chosen
    f = first.curve.faithfulness
    above = replace(f, value=np.full_like(f.value, 1.8))
    controls = replace(result.controls, uniform=np.full_like(result.controls.uniform, 1.0))
    curve = replace(first, curve=replace(first.curve, faithfulness=above))
    report = report_circuit(replace(result, curves=[curve, *result.curves[1:]], controls=controls), CONTEXT)
    assert first.found.kept[size] < result.graph.n_edges
    (line,) = (line for line in report.summary if "random circuits of this size" in line)
    assert line.endswith(", 0 of them less faithful")


def test_a_given_circuit_has_no_scores_of_its_own(engine, tmp_path):
    edges = ["a2.h0->logits", "a0.h0->a2.h0<v>", "input->a0.h0<v>"]
    (tmp_path / "mine.json").write_text(json.dumps({"model": "mine", "edges": edges}))
    report = report_circuit(circuit(from_run=str(tmp_path / "mine.json")).measure(engine), CONTEXT)
    assert report.metrics["circuit_edges"] == 3
    assert "edge_scores.safetensors" not in report.files
    assert "importances.json" not in report.files
    table = pd.read_csv(io.BytesIO(report.files["edges.csv"]))
    assert table[["score", "rank"]].isna().all(axis=None)
    assert not any("largest scores" in line for line in report.summary)
