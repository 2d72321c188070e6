from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ioi_lab.reports import plots
from tests.circuits.graphs import graph_of
from tests.reports.plots.helpers import texts

NAMES = [
    "input->a0.h1<q>", "input->a0.h1<v>", "input->m0", "a0.h1->a3.h2<k>", "m0->a3.h2<k>", "a3.h2->m3", "m0->m3",
    "input->m3", "m0->logits", "m3->logits", "a3.h2->logits", "input->logits",
]  # fmt: skip
SCORES = np.array([0.1, -0.2, 0.3, 0.8, 0.2, 0.1, -0.1, 0.05, 0.2, 0.3, 0.4, 0.1])


def arrows(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_graph_has_a_box_per_node_and_an_arrow_per_edge():
    figure = plots.edge_graph(NAMES, SCORES, "title", "caption")
    (ax,) = figure.axes
    assert len(arrows(figure)) == len(NAMES)
    assert sum(isinstance(patch, FancyBboxPatch) for patch in ax.patches) == 6
    assert sorted(texts(ax)) == sorted(["input", "0.1", "q", "v", "m0", "3.2", "k", "m3", "logits"])
    places = {text.get_text(): text.get_position() for text in ax.texts}
    across = [places[name][0] for name in ("input", "0.1", "m0", "3.2", "m3", "logits")]
    assert across == sorted(across)
    assert places["m0"][1] == places["m3"][1] < min(places["0.1"][1], places["3.2"][1])
    assert places["q"][1] > places["v"][1]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "3"]
    assert ax.get_xlabel() == "layer\ncaption"
    assert figure.get_suptitle() == "title"
    assert legend(figure) == ["helps the behaviour", "works against it", "score 0.8", "score 0.2"]
    assert plots.png(figure).startswith(b"\x89PNG")


def test_arrows_are_wider_for_larger_scores_and_have_a_colour_per_sign():
    figure = plots.edge_graph(["input->a0.h0<q>", "a0.h0->logits"], np.array([0.2, -0.6]), "title", "")
    strong, weak = sorted(arrows(figure), key=lambda arrow: -arrow.get_linewidth())
    assert strong.get_linewidth() == 4.0
    assert weak.get_linewidth() == pytest.approx(0.7 + 3.3 / 3)
    assert strong.get_edgecolor() != weak.get_edgecolor()


@pytest.mark.parametrize("scores", [None, np.zeros(len(NAMES)), np.full(len(NAMES), np.nan)])
def test_edges_without_scores_are_all_alike(scores):
    figure = plots.edge_graph(NAMES, scores, "title", "")
    assert len({(arrow.get_linewidth(), arrow.get_edgecolor()) for arrow in arrows(figure)}) == 1
    assert figure.axes[0].get_legend() is None


def test_arrows_end_at_the_box_of_their_reader_and_start_at_that_of_their_writer():
    for name in NAMES:
        figure = plots.edge_graph([name], np.ones(1), "title", "")
        (arrow,) = arrows(figure)
        vertices = arrow._path_original.vertices
        assert vertices[0, 0] < vertices[-1, 0]


def test_of_many_edges_the_strongest_are_drawn_and_the_title_says_of_how_many():
    names = [f"a{layer}.h{h}->a{layer + 1}.h{i}<v>" for layer in range(29) for h in range(9) for i in range(9)]
    names += [f"input->a0.h{h}<v>" for h in range(9)] + [f"a29.h{h}->logits" for h in range(9)]
    scores = np.random.default_rng(0).normal(size=len(names))
    figure = plots.edge_graph(names, scores, "title", "")
    drawn = len(arrows(figure))
    assert 30 <= drawn <= 60
    assert f"\n{drawn} of {len(names):,} edges, the strongest" in figure.get_suptitle()
    assert figure.get_figwidth() <= 20


def test_all_edges_of_a_large_model_can_be_drawn():
    graph = graph_of(30, 9, 3)
    scores = np.random.default_rng(0).standard_t(2, size=graph.n_edges)
    figure = plots.edge_graph(graph.names, scores, "title", "", shared=3)
    assert " of 70,651 edges" in figure.get_suptitle()
    assert len(arrows(figure)) <= 60


def test_an_edge_into_a_shared_key_is_counted_once():
    names = ["input->a0.h0<k>", "a0.h0->logits", "a0.h1->logits"]
    figure = plots.edge_graph(names, np.ones(3), "title", "", shared=2)
    assert len(arrows(figure)) == 4
    assert "of" not in figure.get_suptitle()
