"""Small graphs of edges, and circuits in them, for the tests of what works on arrays alone."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from ioi_lab.circuits.graph import LOGITS, Graph
from ioi_lab.models.shape import ModelShape


def graph_of(layers=2, heads=2, kv_heads=None, labels=(), parallel=False, name="small"):
    shape = ModelShape(name, layers, heads, kv_heads or heads, 8, 4, 32, parallel=parallel)
    return Graph.of(shape, labels)


GRAPHS = [
    graph_of(1, 1),
    graph_of(2, 2),
    graph_of(3, 4, 2),
    graph_of(2, 2, parallel=True),
    graph_of(2, 2, labels=("S1", "END")),
]

graphs = st.sampled_from(GRAPHS)


def flags(graph, share, seed):
    return np.random.default_rng(seed).random(graph.n_edges) < share


def scores(graph, seed):
    """Scores of both signs, with ties, whose sums are exact."""
    return np.round(10 * np.random.default_rng(seed).normal(size=graph.n_edges))


def as_networkx(graph, circuit):
    """A circuit as paths: from writers to readers along its edges, and from readers to the writers that they feed."""
    paths = nx.MultiDiGraph()
    paths.add_nodes_from([("out", "input"), ("in", LOGITS)])
    for row, column in np.argwhere(graph.feeds):
        paths.add_edge(("in", graph.readers[row].name), ("out", graph.writers[column].name))
    for edge in np.flatnonzero(circuit):
        writer, reader = graph.writers[graph.edge_writer[edge]].name, graph.readers[graph.edge_reader[edge]].name
        paths.add_edge(("out", writer), ("in", reader), key=int(edge), edge=int(edge))
    return paths
