"""A circuit run as data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ioi_lab.circuits.selection import pruned, topn
from ioi_lab.dashboard import circuits
from ioi_lab.dashboard.circuits import CircuitRun
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.results import UnreadableError
from tests.dashboard.conftest import small_graph

EAP = ("eap", "absolute")


@pytest.fixture
def read(leave_circuit, index_of, runs_folder):
    def read(**typed):
        leave_circuit("c", **typed)
        return CircuitRun.read(RunsFolder(runs_folder), "c", index_of().details(["c"])["c"])

    return read


def test_the_circuit_of_a_size_is_that_of_the_search(read):
    run, graph = read(), small_graph()
    for size in (1, 7, 20, graph.n_edges):
        expected = pruned(graph, topn(run.scores("eap"), "absolute").circuit(size))
        np.testing.assert_array_equal(run.circuit(EAP, size), expected)
    assert run.lines == [EAP, ("exact", "absolute")]
    assert run.line_of("exact:absolute") == ("exact", "absolute")
    assert run.line_of("none") == EAP


def test_sizes_are_the_measured_ones_and_others_between(read):
    run = read()
    assert {1, 5, 10, run.graph.n_edges} <= set(run.sizes)
    assert len(run.sizes) > 10
    assert run.measured_at(EAP, 5)["faithfulness"] == 0.4
    assert run.measured_at(EAP, 6) is None
    assert run.kept_size == 10


@pytest.mark.parametrize("typed", [{"intervention.search": "acdc"}, {"intervention.from_run": "runs/other"}])
def test_a_search_for_one_circuit_has_one_size(read, typed):
    run = read(**typed)
    assert run.sizes == [10]
    assert run.circuit(EAP, 10).sum() == run.edges["in_circuit"][: run.graph.n_edges].sum()


def test_heads_stay_in_place_while_the_size_changes(read):
    run = read()
    places = [run.drawn(EAP, size).places.rows for size in run.sizes if run.circuit(EAP, size).sum()]
    assert all(rows == places[-1] for rows in places)


def test_of_many_edges_the_strongest_are_drawn(read, monkeypatch):
    monkeypatch.setattr(circuits, "MOST_DRAWN", 8)
    run = read()
    drawn = run.drawn(EAP, run.graph.n_edges)
    assert len(drawn.edges) <= 8 < drawn.n_edges


def test_edges_are_listed_by_the_size_of_their_score(read):
    table = read().table(EAP, 10)
    assert table["score"].abs().is_monotonic_decreasing
    assert list(table) == ["edge", "position", "score", "score_low", "score_high"]


def test_tables_of_another_model_are_refused(leave_circuit, runs_folder):
    folder, runs = leave_circuit("c"), RunsFolder(runs_folder)
    model = {"name": "toy", "n_layers": 3, "n_heads": 2}
    (folder / "circuit.json").write_text(json.dumps({"model": model, "edges": ["input->m0"]}))
    with pytest.raises(UnreadableError, match="other edges by eap"):
        CircuitRun.read(runs, "c", {})
    (folder / "circuit.json").write_text(json.dumps({"model": "toy", "edges": ["input->m0"]}))
    with pytest.raises(UnreadableError, match="does not give the sizes"):
        CircuitRun.read(runs, "c", {})
    (folder / "circuit.json").write_text("[")
    with pytest.raises(UnreadableError, match="is not"):
        CircuitRun.read(runs, "c", {})
    (folder / "curve.csv").write_text("layer\n1\n")
    with pytest.raises(UnreadableError):
        CircuitRun.read(runs, "c", {})
