from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.validity.by_group import by_group, order_of
from ioi_lab.circuits.validity.evaluation import Evaluation
from ioi_lab.engine.engine import Engine
from ioi_lab.tasks.prompts import PromptPairs


@pytest.fixture(scope="module")
def half_of_them(evaluation):
    """The logit differences of a circuit that does everything on prompts of one order and nothing on the others."""
    first = np.array([order_of(pair).startswith("A") for pair in evaluation.runner.engine.prompts])
    return np.where(first, evaluation.whole, evaluation.empty)


def test_orders_are_those_of_the_labels(engine):
    assert [order_of(engine.prompts[row]) for row in (0, 1)] == ["A B C D", "C D A B"]


def test_a_circuit_of_one_order_only_is_found(evaluation, half_of_them):
    (order,) = by_group(evaluation, half_of_them, 0)
    assert (order.by, order.names, order.n_prompts) == ("order", ["A B C D", "C D A B"], [8, 8])
    assert order.faithfulness.value == pytest.approx([1, 0])
    assert order.p_value < 0.01
    assert order.outcome == "fails"


def test_a_small_difference_is_no_failure(evaluation, half_of_them):
    nearly = 0.95 * evaluation.whole + 0.05 * half_of_them
    (order,) = by_group(evaluation, nearly, 0)
    assert order.p_value < 0.01
    assert order.outcome == "holds"


def test_the_planted_circuit_works_in_both_orders(evaluation, right):
    (order,) = by_group(evaluation, evaluation.logit_diffs(right[None]), 0)
    assert (order.faithfulness.value > 0.9).all()
    assert np.isfinite(order.faithfulness.low).all()


def test_equal_groups_are_rarely_told_apart(evaluation):
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(40):
        noisy = evaluation.whole + rng.normal(size=evaluation.whole.shape)
        p_values.append(by_group(evaluation, noisy, seed)[0].p_value)
    assert np.mean(np.array(p_values) < 0.05) < 0.2
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.15)


def test_sentences_are_groups(engine, evaluation):
    pairs = [replace(pair, group=f"sentence {row // 2 % 2}") for row, pair in enumerate(engine.prompts)]
    grouped = Evaluation.of(CircuitRunner(Engine(engine.model, PromptPairs(pairs)), evaluation.graph))
    sentence, order = by_group(grouped, grouped.whole, 0)
    assert sentence.names == ["sentence 0", "sentence 1"]
    assert sentence.outcome == order.outcome == "holds"
