from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.selection import topn
from ioi_lab.circuits.validity.stability import stability
from ioi_lab.stats.bootstrap import Bootstrap
from tests.circuits.graphs import graph_of

GRAPH = graph_of()
SIZE = 6


def search(scores):
    return topn(scores, "absolute").circuit(SIZE)


def prompt_scores(spread):
    """Scores of 12 prompts, in which the edges on two paths stand out."""
    clear = np.zeros(GRAPH.n_edges)
    names = ["input->a0.h0<v>", "a0.h0->m1", "m1->logits", "input->a0.h1<q>", "a0.h1->logits", "input->logits"]
    clear[GRAPH.circuit(names, "test")] = 1
    return clear + spread * np.random.default_rng(0).normal(size=(12, GRAPH.n_edges)), clear


def test_a_clear_circuit_is_found_again_on_every_resample():
    scores, clear = prompt_scores(0.0)
    result = stability(Bootstrap(12, 0), GRAPH, clear > 0, scores, search, 10, 0)
    assert result.mean == 1
    assert (result.with_circuit == 1).all()
    assert (result.inclusion == (clear > 0)).all()
    assert len(result.pairwise) == 45
    assert result.outcome == "holds"


def test_noise_gives_another_circuit_on_every_resample():
    scores, clear = prompt_scores(20.0)
    result = stability(Bootstrap(12, 0), GRAPH, clear > 0, scores, search, 60, 0)
    assert result.mean < 0.5
    assert result.outcome == "fails"
    # the expected overlap of random sets of this size
    assert result.random == pytest.approx(SIZE / (2 * GRAPH.n_edges - SIZE), abs=0.02)


def test_groups_of_prompts_are_drawn_whole():
    scores, clear = prompt_scores(20.0)
    groups = [0, 1] * 6
    result = stability(Bootstrap(12, 0, groups=groups), GRAPH, clear > 0, scores, search, 40, 0)
    assert len(np.unique(result.with_circuit)) <= 3  # of one group twice, of the other twice, of both
