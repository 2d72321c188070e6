from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.validity.self_repair import self_repair


class Backed:
    """An evaluation in which a second head takes over once the first is left out: both out cost everything."""

    def __init__(self, evaluation):
        self.graph, self.runner = evaluation.graph, evaluation.runner
        self.whole, self.empty = evaluation.whole, evaluation.empty

    def logit_diffs(self, circuits):
        names = {name: row for row, name in enumerate(self.graph.names)}
        a, b = (circuits[:, names[f"{head}->logits"]] for head in ("a0.h1", "a2.h3"))
        kept = np.select([a, b], [1.0, 0.9], 0.0)[:, None]
        return kept * self.whole


def test_a_backup_is_found_though_it_costs_nothing_alone(evaluation, right, scores):
    result = self_repair(Backed(evaluation), right, scores, 10)
    mean = evaluation.whole.mean()
    assert result.pairs == [("a0.h1", "a2.h3")]
    assert (result.first.value[0], result.second.value[0]) == (pytest.approx(0.1 * mean), 0)
    assert result.joint.value[0] == pytest.approx(mean)
    assert result.excess.value[0] == pytest.approx(0.9 * mean)
    assert result.beyond_sum.tolist() == [True]
    assert result.outcome == "fails"


def test_heads_in_a_row_do_not_back_each_other_up(evaluation, right, scores):
    result = self_repair(evaluation, right, scores, 10)
    assert result.found.tolist() == [True]
    assert result.excess.value[0] < 0  # each costs everything alone, and both together no more
    assert not result.beyond_sum.any()
    assert result.outcome == "not shown"


def test_pairs_of_the_head_with_the_largest_loss_come_first(evaluation, everything, scores):
    result = self_repair(evaluation, everything, scores, 11)
    assert result.n_pairs == 12 * 11 // 2
    largest = {pair[0] for pair in result.pairs}
    assert len(largest) == 1
    assert largest < {"a0.h1", "a2.h3"}
    assert {pair[1] for pair in result.pairs} | largest == {
        f"a{layer}.h{head}" for layer in range(3) for head in range(4)
    }


def test_a_single_head_has_no_pairs(evaluation, scores):
    one = evaluation.graph.circuit(["input->a1.h0<v>", "a1.h0->logits"], "test")
    result = self_repair(evaluation, one, scores, 5)
    assert (result.pairs, result.n_pairs, result.outcome) == ([], 0, "not testable")
