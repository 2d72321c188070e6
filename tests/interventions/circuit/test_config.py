"""Circuits that are found in one run and evaluated in another."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit.config import Circuit
from tests.conftest import only_run_folder
from tests.interventions.circuit.conftest import circuit


def command(sweep, *arguments):
    return sweep("tracker=none", "intervention=circuit", "figures=false", "task.n=16", *arguments)


@pytest.mark.long
def test_a_circuit_is_evaluated_on_another_corruption_from_its_run(sweep, tmp_path):
    found = command(sweep, "intervention.sizes=[24,1]", "name=found")
    assert found.code == 0, found.err
    run = only_run_folder(tmp_path)
    names = {path.name for path in run.iterdir()}
    assert names >= {"results.csv", "edges.csv", "curve.csv", "circuit.json", "importances.json", "metrics.json"}
    assert (run / "results.csv").read_text() == (run / "curve.csv").read_text()
    again = command(sweep, f"intervention.from_run={run}", "task.seed=1", "task.corruption=abc", "name=again")
    assert again.code == 0, again.err
    (evaluated,) = (tmp_path / "runs" / "again").iterdir()
    edges = {name: list(json.loads((folder / "circuit.json").read_text())["edges"])
             for name, folder in (("found", run), ("again", evaluated))}  # fmt: skip
    assert edges["found"] == edges["again"]
    assert pd.read_csv(evaluated / "curve.csv")["method"].tolist() == ["given"]
    other = command(sweep, "model=tiny-pythia", f"intervention.from_run={run}")
    assert other.code == 1
    assert "error: intervention.from_run: the circuit is of another model: " in other.error_line
    (run / "circuit.json").unlink()
    none = command(sweep, f"intervention.from_run={run}")
    assert none.code == 1
    assert none.error_line.endswith("has no circuit.json; expected a run of intervention=circuit")


def test_a_file_with_edges_in_any_order_keeps_their_scores(engine, tmp_path):
    edges = {"a2.h0->logits": 3.0, "a0.h0->a2.h0<v>": 2.0, "input->a0.h0<v>": 1.0}
    (tmp_path / "mine.json").write_text(json.dumps({"model": "mine", "edges": edges}))
    measured = circuit(from_run=str(tmp_path / "mine.json")).measure(engine)
    (scores,) = (estimate.value for estimate in measured.scores.values())
    names = np.array(measured.graph.names)[measured.circuit]
    assert dict(zip(names.tolist(), scores[measured.circuit].tolist(), strict=True)) == edges


@pytest.mark.parametrize(
    ("edge", "why"),
    [
        ("a9.h0->logits", "but tiny-gpt2 has no writer 'a9.h0'"),
        ("m3->a0.h0<q>", "but m3 does not come before a0.h0<q>"),
        ("m3", "which is not the name of an edge"),
    ],
)
def test_edges_that_do_not_exist_are_named(engine, tmp_path, edge, why):
    (tmp_path / "mine.json").write_text(json.dumps({"model": "mine", "edges": [edge]}))
    with pytest.raises(LabError, match=r"^intervention\.from_run: in the circuit of mine: got ") as error:
        circuit(from_run=str(tmp_path / "mine.json")).measure(engine)
    assert f"{edge!r}, {why}" in str(error.value)
    assert "\n" not in str(error.value)


def test_titles_say_what_is_found():
    assert Circuit(scores=["eap", "exact"]).title == "circuit by eap exact"
    assert Circuit(search="acdc", tau=0.1).title == "circuit by acdc"
    assert Circuit(from_run="runs/x").title == "a circuit evaluated"


def test_places_without_a_circuit_are_refused_before_a_model_is_loaded(tmp_path):
    with pytest.raises(LabError, match=r"^intervention\.from_run: '.*none\.json' is not a file"):
        Circuit(from_run=str(tmp_path / "none.json")).check()
