from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.validity.minimality import minimality


def test_every_planted_edge_is_needed(evaluation, right):
    result = minimality(evaluation, right, None, 20, 60, 0)
    assert sorted(result.edges) == np.flatnonzero(right).tolist()
    assert result.changes.value == pytest.approx(np.ones(3), abs=0.1)
    assert result.p_value == pytest.approx(np.full(3, 3 / 61))
    assert (result.outcome, result.n_edges, result.n_wanted) == ("holds", 3, 60)
    assert np.abs(result.added).max() < 0.1


def test_an_idle_edge_is_found(evaluation, right):
    graph = evaluation.graph
    larger = right | graph.circuit(["input->a1.h2<q>"], "test")
    scores = np.where(right, -1.0, 0.1)
    result = minimality(evaluation, larger, scores, 1, 20, 0)
    assert [graph.names[edge] for edge in result.edges] == ["input->a1.h2<q>"]  # the weakest
    assert result.outcome == "fails"
    assert result.idle.tolist() == [True]
    assert result.changes.value == pytest.approx([0], abs=1e-6)


def test_edges_that_were_not_tested_are_not_said_to_be_needed(evaluation, right):
    result = minimality(evaluation, right, np.arange(len(right), dtype=float), 2, 40, 0)
    assert result.needed.tolist() == [True, True]
    assert result.outcome == "not shown"


def test_too_few_added_edges_show_nothing(evaluation, right):
    result = minimality(evaluation, right, None, 20, 30, 0)
    assert result.outcome == "not shown"
    assert not result.idle.any()


def test_nothing_can_be_added_to_all_edges(evaluation, everything):
    result = minimality(evaluation, everything, None, 2, 30, 0)
    assert result.outcome == "not testable"
    assert len(result.edges) == 2
