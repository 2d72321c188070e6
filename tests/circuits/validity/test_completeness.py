from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.validity.completeness import completeness, outcome_of


def test_the_planted_circuit_breaks_as_the_model_does(evaluation, right, scores):
    sets = completeness(evaluation, right, scores, 6, 1, 0)
    assert [each.kind for each in sets] == ["random"] * 6 + ["greedy"]
    for each in sets:
        assert set(each.nodes) <= {"a0.h1", "a2.h3"}
        assert each.nodes
        assert each.difference.value == pytest.approx(each.circuit.value - each.model.value)
        assert abs(each.difference.value[0]) < 0.1
    assert outcome_of(sets) == "holds"


def test_a_circuit_that_misses_what_does_the_task_is_incomplete(evaluation, wrong, scores):
    sets = completeness(evaluation, wrong, scores, 2, 1, 0)
    assert all(each.model.value[0] > 0.9 for each in sets)  # the model does not need these nodes
    assert outcome_of(sets) == "fails"


def test_a_circuit_without_heads_and_mlps_cannot_be_tested(evaluation, scores):
    direct = evaluation.graph.circuit(["input->logits"], "test")
    assert completeness(evaluation, direct, scores, 3, 2, 0) == []
    assert outcome_of([]) == "not testable"


def test_random_sets_are_drawn_by_the_seed(evaluation, everything, scores):
    first, again, other = (
        [each.nodes for each in completeness(evaluation, everything, scores, 3, 0, s)] for s in (0, 0, 1)
    )
    assert first == again != other


def test_random_sets_are_mostly_small(evaluation, everything, scores):
    sizes = [len(each.nodes) for each in completeness(evaluation, everything, scores, 20, 0, 0)]
    assert min(sizes) == 1
    assert max(sizes) <= 8  # half of 15, rounded
    assert np.median(sizes) < 4
