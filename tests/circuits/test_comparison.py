from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from ioi_lab.circuits.comparison import class_sums, jaccard, rank_correlations
from tests.circuits.graphs import flags, graph_of, scores


def test_rank_correlations_are_those_of_scipy():
    graph = graph_of()
    first, second = scores(graph, 0), scores(graph, 1)
    found = rank_correlations(np.stack([first, second, -(first**3)]))
    assert found[0, 1] == pytest.approx(spearmanr(first, second).statistic)
    assert found[0, 2] == pytest.approx(-1)
    assert np.diag(found) == pytest.approx(np.ones(3))
    assert rank_correlations(first[None]) == pytest.approx(np.ones((1, 1)))
    assert np.isnan(rank_correlations(np.stack([first, np.zeros_like(first)]))[0, 1])


def test_jaccard_is_the_share_of_edges_in_both():
    circuits = np.array([[1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=bool)
    found = jaccard(circuits)
    assert found[:2, :2] == pytest.approx(np.array([[1, 0.25], [0.25, 1]]))
    assert found[0, 2] == 0
    assert np.isnan(found[2, 2])


@pytest.mark.parametrize("labels", [(), ("END",)])
def test_edges_are_summed_by_the_classes_of_their_ends(labels):
    graph = graph_of(2, 4, 2, labels=labels)
    names = ["input->a0.h1<k>", "a0.h3->a1.h2<q>", "a0.h3->a1.h1<v>", "m0->a1.h2<q>", "a1.h2->logits", "a1.h2->m1"]
    circuit = graph.circuit([f"{name}@END" if labels else name for name in names], "edges")
    values = scores(graph, 0)
    found = class_sums(graph, circuit, values, {"a0.h3": "duplicate", "a1.h2": "mover"})
    assert found.writers == ["input", "duplicate", "mover", "MLPs"]
    assert found.readers == ["duplicate k", "mover q", "mover v", "MLPs", "logits"]
    assert found.counts.tolist() == [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 1, 0, 0, 0]]
    assert found.scores.sum() == values[circuit].sum()
    assert found.scores[0, 0] == values[circuit & (graph.edge_writer == 0)].sum()


def test_heads_without_a_class_are_others():
    graph = graph_of()
    circuit = flags(graph, 1.1, 0)
    found = class_sums(graph, circuit, scores(graph, 0), {})
    assert found.writers == ["input", "other heads", "MLPs"]
    assert found.readers == ["other heads q", "other heads k", "other heads v", "MLPs", "logits"]
    assert found.counts.sum() == graph.n_edges
    empty = class_sums(graph, ~circuit, scores(graph, 0), {})
    assert empty.counts.shape == (0, 0)
