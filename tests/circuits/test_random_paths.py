from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.circuits.random_paths import RandomPaths
from ioi_lab.circuits.selection import pruned
from tests.circuits.graphs import graph_of, graphs


@settings(max_examples=30, deadline=None)
@given(graphs, st.integers(0, 1000))
def test_a_path_leads_from_the_logits_to_the_input(graph, seed):
    paths = RandomPaths(graph, seed)
    for _ in range(5):
        path = paths.path()
        circuit = np.zeros(graph.n_edges, dtype=bool)
        circuit[path] = True
        assert circuit.sum() == len(path)
        assert (pruned(graph, circuit) == circuit).all()
        assert graph.edge_writer[path[-1]] == 0
        assert graph.edge_reader[path[0]] == len(graph.readers) - 1


@settings(max_examples=20, deadline=None)
@given(graphs, st.integers(0, 1000), st.floats(0.05, 1))
def test_circuits_have_the_size_and_little_that_is_idle(graph, seed, share):
    size = max(1, round(share * graph.n_edges))
    circuits = RandomPaths(graph, seed).circuits(size, 4)
    assert (circuits.sum(axis=1) == size).all()
    if share < 0.3:  # beyond, the graph may be full of paths
        longest = 2 * graph.shape.n_layers + 1
        assert all(size - pruned(graph, circuit).sum() < longest for circuit in circuits)
    assert (circuits == RandomPaths(graph, seed).circuits(size, 4)).all()


def test_every_first_edge_is_drawn_equally_often():
    graph = graph_of()
    paths = RandomPaths(graph, 0)
    first = np.bincount([paths.path()[0] for _ in range(2000)], minlength=graph.n_edges)
    into_logits = graph.edge_reader == len(graph.readers) - 1
    assert first[into_logits] / 2000 == pytest.approx(np.full(into_logits.sum(), 1 / into_logits.sum()), abs=0.05)
    assert first[~into_logits].sum() == 0
