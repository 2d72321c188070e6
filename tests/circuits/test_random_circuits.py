from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.circuits.random_circuits import edge_classes, random_circuits
from ioi_lab.errors import LabError
from tests.circuits.graphs import flags, graph_of, graphs


@settings(max_examples=40, deadline=None)
@given(graphs, st.integers(0, 1000), st.booleans(), st.booleans(), st.floats(0.1, 0.4))
def test_random_circuits_have_the_size_of_the_circuit(graph, seed, matched, outside, share):
    circuit, varied = flags(graph, share, seed), flags(graph, 0.9, seed + 1)
    options = {"matched": matched, "outside": outside, "varied": varied}
    try:
        drawn = random_circuits(graph, circuit, 5, seed, **options)
    except LabError:
        assert outside
        return
    assert ((drawn & varied).sum(axis=1) == (circuit & varied).sum()).all()
    assert not (drawn & circuit)[:, varied].any() or not outside
    assert (drawn[:, ~varied] == (False if outside else circuit[~varied])).all()
    assert (drawn == random_circuits(graph, circuit, 5, seed, **options)).all()
    if matched:
        classes = edge_classes(graph)
        counts = [np.bincount(classes[each & varied], minlength=99).tolist() for each in (circuit, *drawn)]
        assert counts == [counts[0]] * 6


def test_every_edge_is_drawn_equally_often():
    graph = graph_of()
    circuit = np.arange(graph.n_edges) < 10
    drawn = random_circuits(graph, circuit, 3000, 0)
    assert drawn.mean(axis=0) == pytest.approx(np.full(graph.n_edges, 10 / graph.n_edges), abs=0.04)
    assert len(np.unique(drawn, axis=0)) == 3000


def test_classes_are_labels_layers_and_inputs():
    assert len(np.unique(edge_classes(graph_of()))) == 2 * 4 + 1
    assert len(np.unique(edge_classes(graph_of(labels=("END",))))) == 2 * (2 * 4 + 1)


def test_too_few_edges_outside_are_refused():
    graph = graph_of()
    circuit = np.arange(graph.n_edges) < 0.6 * graph.n_edges
    with pytest.raises(
        LabError, match=r"^intervention.circuit: the circuit has 28 edges and 18 are outside it, too few"
    ):
        random_circuits(graph, circuit, 3, 0, outside=True)
    with pytest.raises(LabError, match=r"edges of the class of input->a1.h0<q> and 0 are outside"):
        random_circuits(graph, circuit, 3, 0, outside=True, matched=True)
