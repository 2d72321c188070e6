from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.circuits import selection
from ioi_lab.circuits.selection import MIB_SIZES, edge_counts, edges_at, mib_sizes, nodes_of, pruned, threshold, topn
from ioi_lab.errors import LabError
from tests.circuits.graphs import as_networkx, flags, graph_of, graphs, scores

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10_000)
rankings = st.sampled_from(["absolute", "signed"])
SEARCHES = {
    "topn": lambda graph, *rest: topn(*rest),
    "greedy": selection.greedy,
    "heads_and_mlps": selection.heads_and_mlps,
}


@quick
@given(graphs, st.sampled_from(sorted(SEARCHES)), rankings, seeds, st.sampled_from([0.0, 0.5]))
def test_circuits_are_nested_up_to_all_edges_and_keep_what_is_not_varied(graph, search, ranking, seed, fixed):
    varied = ~flags(graph, fixed, seed + 1)
    steps = SEARCHES[search](graph, scores(graph, seed), ranking, varied if fixed else None)
    before = steps.circuit(0)
    assert (before == ~varied).all()
    for size in range(1, varied.sum() + 1):
        circuit = steps.circuit(size)
        assert (circuit >= before).all()
        assert (circuit & varied).sum() <= size
        if search != "heads_and_mlps":
            assert (circuit & varied).sum() == size
        before = circuit
    assert before.all()


@quick
@given(graphs, rankings, seeds, st.integers(0, 20))
def test_topn_keeps_the_best_edges(graph, ranking, seed, size):
    values = scores(graph, seed)
    goodness = np.abs(values) if ranking == "absolute" else values
    circuit = topn(values, ranking).circuit(size)
    if 0 < size < graph.n_edges:
        assert goodness[circuit].min() >= goodness[~circuit].max()


@quick
@given(graphs, rankings, seeds)
def test_greedy_takes_the_best_edge_that_reaches_the_logits(graph, ranking, seed):
    values = scores(graph, seed)
    goodness = np.abs(values) if ranking == "absolute" else values
    steps, taken = selection.greedy(graph, values, ranking), np.zeros(graph.n_edges, dtype=bool)
    for edge in np.argsort(steps.of_edge)[:12]:
        reached = nx.ancestors(as_networkx(graph, taken), ("in", "logits")) | {("in", "logits")}
        open_to = [i for i in np.flatnonzero(~taken) if ("in", graph.readers[graph.edge_reader[i]].name) in reached]
        assert edge in open_to
        assert goodness[edge] == goodness[open_to].max()
        taken[edge] = True


@quick
@given(graphs, rankings, seeds, st.integers(1, 60))
def test_a_circuit_of_nodes_has_all_edges_among_them(graph, ranking, seed, size):
    values = scores(graph, seed)
    of_node = {w.name: values[graph.edge_writer == i].sum() for i, w in enumerate(graph.writers) if i}
    ranked = sorted(of_node, key=lambda name: -abs(of_node[name]) if ranking == "absolute" else -of_node[name])
    best = np.zeros(graph.n_edges, dtype=bool)
    for count in range(len(ranked) + 1):
        kept = {"input", *ranked[:count]}
        read = {graph.readers[r].name for r, w in np.argwhere(graph.feeds) if graph.writers[w].name in kept} | {
            "logits"
        }
        ends = zip(graph.edge_writer, graph.edge_reader, strict=True)
        among = np.array([graph.writers[w].name in kept and graph.readers[r].name in read for w, r in ends])
        best = among if among.sum() <= size else best
    assert (selection.heads_and_mlps(graph, values, ranking).circuit(size) == best).all()


def test_a_threshold_keeps_what_reaches_it():
    values = np.array([0.5, -0.5, 0.2, 0.1])
    assert threshold(values, 0.2, "absolute").tolist() == [True, True, True, False]
    assert threshold(values, 0.2, "signed").tolist() == [True, False, True, False]
    varied = np.array([True, True, True, False])
    assert threshold(values, 0.2, "signed", varied).tolist() == [True, False, True, True]


@settings(max_examples=150, deadline=None)
@given(graphs, seeds, st.floats(0.02, 0.9))
def test_pruning_keeps_the_edges_on_paths_from_the_input_to_the_logits(graph, seed, share):
    circuit = flags(graph, share, seed)
    paths = as_networkx(graph, circuit)
    after = nx.descendants(paths, ("out", "input")) | {("out", "input")}
    before = nx.ancestors(paths, ("in", "logits")) | {("in", "logits")}
    on_path = {edge for u, v, edge in paths.edges(data="edge") if edge is not None and u in after and v in before}
    kept = pruned(graph, circuit)
    assert set(np.flatnonzero(kept).tolist()) == on_path
    assert (pruned(graph, kept) == kept).all()
    inner = {name for side, name in after & before if side == "out" and name != "input"}
    assert {node.name for node in nodes_of(graph, kept)} == inner


def test_edges_into_a_shared_key_value_head_connect_all_of_its_query_heads():
    graph = graph_of(2, 4, 2)
    circuit = graph.circuit(["input->a0.h1<k>", "a0.h2->logits", "a0.h3->logits"], "edges")
    assert [node.name for node in nodes_of(graph, pruned(graph, circuit))] == ["a0.h2", "a0.h3"]


def test_a_node_may_be_entered_and_left_at_different_labels():
    graph = graph_of(labels=("S2", "END"))
    circuit = graph.circuit(["input->a0.h1<v>@S2", "a0.h1->logits@END", "a1.h0->logits@END"], "edges")
    assert [graph.names[edge] for edge in np.flatnonzero(pruned(graph, circuit))] == [
        "input->a0.h1<v>@S2",
        "a0.h1->logits@END",
    ]


def test_edges_at_heads_and_layers():
    graph = graph_of(2, 4, 2)
    names = np.array(graph.names)
    at_head = set(names[edges_at(graph, heads=[(1, 3)])])
    assert {"a1.h3->m1", "a1.h3->logits", "m0->a1.h3<q>", "m0->a1.h1<k>"} <= at_head
    assert not any("a1.h2<q>" in name or "a1.h0<k>" in name or name.startswith("input->m") for name in at_head)
    at_layer = edges_at(graph, layers=[0])
    assert "input->m1" not in names[at_layer]
    assert {"input->m0", "m0->logits", "a0.h1->m1"} <= set(names[at_layer])
    assert edges_at(graph).sum() == graph.n_edges - 1  # all but that from the input to the logits
    assert edges_at(graph, heads=[(1, 3)], layers=[0]).sum() == 0


def test_sizes_up_to_1_are_shares():
    assert edge_counts(32_491, MIB_SIZES) == [32, 65, 162, 325, 650, 1625, 3249, 6498, 16246, 32491]
    assert edge_counts(479, [0.01, 1, 20, 479]) == [5, 479, 20, 479]
    assert len(mib_sizes(501)) == 10
    assert mib_sizes(479)[0] == 0.002


@pytest.mark.parametrize("size", [0, -0.1, 480, 2.5, float("nan"), True, "all"])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(LabError, match=r"^intervention\.sizes: got .*, expected a share up to 1, or .* from 2 to 479$"):
        edge_counts(479, [0.1, size])


def test_a_share_of_less_than_an_edge_is_refused():
    with pytest.raises(LabError, match=r"^intervention.sizes: got 0.001, which is no edge of 479; expected at least"):
        edge_counts(479, [0.001])
