"""Writers, readers, edges, their numbers and their names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioi_lab.circuits.graph import Graph, Reader, Writer
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from tests.circuits.graphs import flags, graph_of, graphs
from tests.conftest import model_config
from tests.odd_models import write_odd_model


@pytest.mark.parametrize(
    ("sizes", "n_edges"),
    [
        ((4, 4), 479),  # tiny-gpt2
        ((4, 4, 4, (), True), 463),  # tiny-pythia
        ((12, 12), 32_491),  # GPT-2 small
        ((12, 12, 12, (), True), 32_347),  # Pythia-160M
        ((24, 16, 16, (), True), 231_493),  # Pythia-410M
        ((30, 9, 3), 70_651),  # SmolLM2-135M
        ((30, 9, 9), 123_211),  # the same, if keys and values were counted per query head
    ],
)
def test_the_number_of_edges_of_known_shapes(sizes, n_edges):
    graph = graph_of(*sizes)
    assert graph.n_edges == len(graph.names) == len(set(graph.names)) == n_edges
    assert graph_of(*sizes[:3], labels=("S2", "END"), parallel=len(sizes) > 3).n_edges == 3 * n_edges


def time_of(part, parallel):
    """When a part of the model writes or reads: attention, then MLP, of each layer in turn."""
    is_mlp = part.head is None and getattr(part, "input", "mlp") != "logits" and part.layer >= 0
    if isinstance(part, Writer):
        return 2 * part.layer + is_mlp + 0.5
    return 2 * part.layer + (is_mlp and not parallel)


@given(graphs)
def test_an_edge_leads_from_each_writer_to_each_reader_after_it(graph):
    parallel = graph.shape.parallel
    expected = {
        (writer.name, reader.name)
        for writer in graph.writers
        for reader in graph.readers
        if time_of(writer, parallel) < time_of(reader, parallel)
    }
    ends = zip(graph.edge_writer, graph.edge_reader, graph.edge_label, strict=True)
    found = [(graph.writers[w].name, graph.readers[r].name, label) for w, r, label in ends]
    assert sorted(found) == sorted((*pair, label) for pair in expected for label in range(graph.n_labels))
    for index, reader in enumerate(graph.readers):
        for label in range(graph.n_labels):
            first, count = graph.edge_of(index, label), graph.n_writers_before(reader)
            assert (graph.edge_reader[first : first + count] == index).all()
            assert (graph.edge_label[first : first + count] == label).all()
            assert graph.edge_writer[first : first + count].tolist() == list(range(count))


def test_names_are_mibs():
    graph = graph_of(2, 2, 1)
    assert [writer.name for writer in graph.writers] == ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1"]
    assert [reader.name for reader in graph.readers] == [
        "a0.h0<q>", "a0.h1<q>", "a0.h0<k>", "a0.h0<v>", "m0", "a1.h0<q>", "a1.h1<q>", "a1.h0<k>", "a1.h0<v>", "m1",
        "logits",
    ]  # fmt: skip
    assert {"input->m0", "a0.h1->a1.h0<k>", "a1.h1->m1", "m1->logits"} <= set(graph.names)
    labelled = graph_of(2, 2, 1, labels=("S2", "END"))
    assert {"input->m0@S2", "m1->logits@END", "a0.h1->a1.h0<k>@rest"} <= set(labelled.names)
    assert [labelled.position(label) for label in range(3)] == ["S2", "END", "all but S2,END"]
    assert graph.position(0) == "all"


@given(graphs, st.floats(0, 1), st.integers(0, 5))
def test_a_circuit_is_found_by_its_names_and_as_masks(graph, share, seed):
    circuit = flags(graph, share, seed)
    names = [graph.names[edge] for edge in np.flatnonzero(circuit)]
    assert (graph.circuit(names, "edges") == circuit).all()
    masks = graph.masks(np.stack([circuit, ~circuit]))
    assert (masks[0][graph.edge_label, graph.edge_reader, graph.edge_writer] == circuit).all()
    assert masks.sum() == graph.n_edges  # nothing where there is no edge


def test_heads_share_the_readers_of_a_key_value_head():
    graph = graph_of(2, 4, 2)
    writers = [writer.name for writer in graph.writers]

    def fed(reader):
        index = graph.readers.index(reader)
        return [writers[column] for column in np.flatnonzero(graph.feeds[index])]

    assert fed(Reader("q", 1, 2)) == ["a1.h2"]
    assert fed(Reader("k", 1, 1)) == fed(Reader("v", 1, 1)) == ["a1.h2", "a1.h3"]
    assert fed(Reader("mlp", 0)) == ["m0"]
    assert fed(Reader("logits", 2)) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a0.h0", "not the name of an edge; expected one such as m1->logits"),
        ("a0.h9->m0", "has no writer 'a0.h9' (did you mean"),
        ("m0->a1.h0<z>", "has no reader 'a1.h0<z>' (did you mean"),
        ("m0->a1.h0<q>@END", "ends with '@END'; expected no position"),
        ("m1->a1.h0<q>", "but m1 does not come before a1.h0<q>"),
    ],
)
def test_an_edge_that_does_not_exist_is_refused(name, why):
    with pytest.raises(LabError) as raised:
        graph_of(2, 2).circuit(["input->m0", name], "edges")
    assert str(raised.value).startswith(f"edges: got {name!r}, ")
    assert why in str(raised.value)


@pytest.mark.parametrize("name", ["m0->m1", "m0->m1@S1"])
def test_edges_with_positions_say_which(name):
    with pytest.raises(LabError, match=r"expected one of @S2, @END, @rest$"):
        graph_of(2, 2, labels=("S2", "END")).circuit([name], "edges")


def test_models_whose_layers_have_no_heads_have_no_graph(tmp_path):
    shape = load_model(model_config(write_odd_model("jamba", tmp_path))).shape
    with pytest.raises(LabError, match="a graph of edges") as raised:
        Graph.of(shape)
    assert "\n" not in str(raised.value)
