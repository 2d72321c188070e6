"""Circuits of several sizes: they are nested, pruned, and differ only in the edges that may vary."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.finding import Found, SearchSettings, circuits_of_counts, find_circuits, sizes_of
from ioi_lab.circuits.selection import edges_at, pruned
from ioi_lab.errors import LabError
from tests.circuits.graphs import GRAPHS, flags, graph_of, scores

GRAPH = graph_of(3, 4, 2)
SIZES = (10, 0.2, 0.5, 1)


@pytest.mark.parametrize("ranking", ["absolute", "signed"])
@pytest.mark.parametrize("search", ["topn", "greedy"])
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: str(graph.n_edges))
def test_larger_circuits_contain_smaller_ones(graph, search, ranking):
    found = find_circuits(graph, scores(graph, 0), SearchSettings(search, ranking, sizes=(0.2, 0.5, 0.9, 1)))
    assert found.asked.tolist() == sorted({round(share * graph.n_edges) for share in (0.2, 0.5, 0.9, 1)})
    for smaller, larger in zip(found.circuits[:-1], found.circuits[1:], strict=True):
        assert not (smaller & ~larger).any()
    assert found.circuits[-1].all()
    assert (found.kept == found.circuits.sum(axis=1)).all()
    assert (found.kept <= found.asked).all()


def test_the_best_edges_are_taken_and_pruned():
    values = np.random.default_rng(0).normal(size=GRAPH.n_edges)
    found = find_circuits(GRAPH, values, SearchSettings(sizes=SIZES))
    for asked, circuit in zip(found.asked.tolist(), found.circuits, strict=True):
        best = np.zeros(GRAPH.n_edges, dtype=bool)
        best[sorted(range(GRAPH.n_edges), key=lambda edge: -abs(values[edge]))[:asked]] = True
        assert (circuit == pruned(GRAPH, best)).all()


def test_a_threshold_gives_one_circuit():
    values = scores(GRAPH, 0)
    found = find_circuits(GRAPH, values, SearchSettings("threshold", "signed", threshold=9.0))
    assert found.asked.tolist() == [(values >= 9).sum()]
    assert (found.circuits == pruned(GRAPH, values >= 9)[None]).all()


def test_whole_heads_and_mlps_come_with_all_edges_between_them():
    wanted = SearchSettings(nodes="heads_and_mlps", sizes=(0.3,))
    (circuit,) = find_circuits(GRAPH, scores(GRAPH, 0), wanted).circuits
    writers = set(GRAPH.edge_writer[circuit].tolist())
    readers = set(GRAPH.edge_reader[circuit].tolist())
    inside = np.isin(GRAPH.edge_writer, list(writers)) & np.isin(GRAPH.edge_reader, list(readers))
    assert (circuit == inside).all()


def test_edges_that_may_not_vary_are_in_every_circuit():
    varied = edges_at(GRAPH, layers=[2])
    settings = SearchSettings(sizes=(0.1, 1), varied=varied)
    counts = sizes_of(GRAPH, settings)
    assert counts == [round(0.1 * varied.sum()), varied.sum()]
    circuits = circuits_of_counts(GRAPH, scores(GRAPH, 0), counts, settings)
    assert circuits[:, ~varied].all()
    assert circuits[:, varied].sum(axis=1).tolist() == counts


def test_sizes_are_mibs_without_others_and_each_counts_once():
    assert sizes_of(GRAPH, SearchSettings())[-1] == GRAPH.n_edges
    assert len(sizes_of(graph_of(6, 4), SearchSettings())) == 10
    assert sizes_of(GRAPH, SearchSettings(sizes=(1, 20, 1.0, GRAPH.n_edges))) == [20, GRAPH.n_edges]


@pytest.mark.parametrize("size", [0, -1, 1.5, 10_000, 0.0001])
def test_sizes_out_of_range_are_named(size):
    with pytest.raises(LabError, match=rf"^intervention\.sizes: got {size}, "):
        find_circuits(GRAPH, scores(GRAPH, 0), SearchSettings(sizes=(size,)))


def test_circuits_without_sizes_that_were_asked_for_count_themselves():
    circuits = np.stack([flags(GRAPH, 0.1, seed) for seed in range(3)])
    found = Found.of(GRAPH, circuits)
    assert found.asked.tolist() == circuits.sum(axis=1).tolist()
    assert (found.circuits == np.stack([pruned(GRAPH, circuit) for circuit in circuits])).all()
