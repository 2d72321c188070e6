from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports.plots.edge_layout import (
    DrawnEdge,
    Places,
    columns_of,
    is_head,
    layer_of,
    merged,
    s_curve,
    short_name,
    strongest,
)


def edges_of(**scores):
    """Edges such as `a0h1_m1=0.5`: writer and reader of one score."""
    edges = []
    for name, score in scores.items():
        writer, reader = (node.replace("h", ".h") if node.startswith("a") else node for node in name.split("_"))
        edges.append(DrawnEdge(name, writer, reader, "", score))
    return edges


def names(edges):
    return {edge.name for edge in edges}


def test_names_are_taken_apart_and_positions_are_summed():
    edges = merged(
        ["a0.h1->a10.h2<q>@S2", "a0.h1->a10.h2<q>@END", "input->m3", "m3->logits"], np.array([1.0, 2, 3, 4]), 1
    )
    assert [(edge.writer, edge.reader, edge.port, edge.score) for edge in edges] == [
        ("a0.h1", "a10.h2", "q", 3.0),
        ("input", "m3", "", 3.0),
        ("m3", "logits", "", 4.0),
    ]
    assert [layer_of(node) for node in ("a10.h2", "m3", "input", "logits")] == [10, 3, None, None]
    assert [short_name(node) for node in ("a10.h2", "m3")] == ["10.2", "m3"]


def test_edges_into_a_shared_key_lead_to_its_query_heads_that_write():
    edges = merged(["input->a0.h1<k>", "a0.h2->logits", "a0.h3->logits", "input->a0.h0<v>"], np.ones(4), 2)
    assert [(edge.reader, edge.port) for edge in edges if edge.writer == "input"] == [
        ("a0.h2", "k"),
        ("a0.h3", "k"),
        ("a0.h0", "v"),  # no query head of it writes an edge
    ]
    assert len(names(edges)) == 4


def test_the_strongest_edges_are_kept_with_what_connects_them():
    edges = edges_of(
        input_a0h0=0.1, input_a0h1=0.2, a0h0_a1h0=0.9, a0h1_a1h0=0.3, a1h0_logits=0.05, a1h0_m1=-0.02, m1_logits=0.6
    )
    assert names(strongest(edges, 3, lambda _: True)) == {"input_a0h0", "a0h0_a1h0", "a1h0_logits"}
    assert names(strongest(edges, 7, lambda _: True)) == names(edges)
    assert names(strongest(edges, 7, lambda kept: len(kept) < 6)) == {
        "input_a0h0", "a0h0_a1h0", "a1h0_m1", "m1_logits",
    }  # fmt: skip
    assert names(strongest(edges, 2, lambda _: True)) == {"a0h0_a1h0", "m1_logits"}  # no whole path fits
    assert strongest([], 5, lambda _: True) == []


@pytest.mark.parametrize("seed", range(5))
def test_no_drawn_path_ends_midway(seed):
    rng = np.random.default_rng(seed)
    nodes = ["input", *(f"a{layer}.h{head}" for layer in range(6) for head in range(6)), "logits"]
    places = {node: {"input": -1, "logits": 9}.get(node, layer_of(node)) for node in nodes}
    pairs = [(u, v) for u in nodes for v in nodes if places[u] < places[v]]
    every = [DrawnEdge(f"{u}->{v}", u, v, "q", float(rng.normal())) for u, v in pairs]
    kept = strongest(every, 40, lambda _: True)
    assert 20 < len(kept) <= 40
    written, read = {edge.writer for edge in kept}, {edge.reader for edge in kept}
    assert written - read == {"input"}
    assert read - written == {"logits"}


def test_heads_stand_in_the_columns_of_their_layers_and_never_on_one_another():
    edges = edges_of(input_a0h0=1, input_a0h1=1, a0h0_a7h3=1, a0h1_a7h3=1, a7h3_m7=1, m7_logits=1, a0h1_a7h5=1)
    places = Places.of(edges)
    assert places.layers == [0, 7]
    assert columns_of(edges) == ([0, 7], [["a0.h0", "a0.h1"], ["a7.h3", "a7.h5"]])
    assert [places.column(node) for node in ("input", "a0.h1", "a7.h3", "m7", "logits")] == [-1, 0, 1, 1.5, 2]
    assert sorted(places.rows) == ["a0.h0", "a0.h1", "a7.h3", "a7.h5"]
    assert min(places.rows.values()) == 0
    assert len({(places.column(head), row) for head, row in places.rows.items()}) == 4


def test_edges_pass_beside_boxes():
    """A head that an edge would pass through gives way."""
    places = Places.of(edges_of(input_a0h0=1, a0h0_a2h0=1, a2h0_logits=1, input_a1h0=1, a1h0_logits=1))
    assert places.rows["a0.h0"] == places.rows["a2.h0"] != places.rows["a1.h0"]


def test_graphs_without_heads_have_no_rows():
    assert Places.of(edges_of(input_m0=1, m0_logits=1)).n_rows == 0
    assert Places.of([]).layers == []
    assert not is_head("m0")


def test_curves_are_level_at_both_ends():
    assert s_curve(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.5, 1])
    assert s_curve(np.array([0.05]))[0] < 0.02
