from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.validity.controls import Comparison, necessity, sufficiency
from ioi_lab.stats.bootstrap import Estimate


def test_the_planted_circuit_is_sufficient_and_a_wrong_one_is_not(evaluation, right, wrong):
    for each in sufficiency(evaluation, right, 20, 0):
        assert (each.outcome, each.n_worse, each.p_value) == ("holds", 20, pytest.approx(1 / 21)), each.kind
        assert each.faithfulness.value[0] > 0.9
        assert (np.abs(each.random) < 0.1).all()
    for each in sufficiency(evaluation, wrong, 20, 0):
        assert each.outcome in ("fails", "not shown"), each.kind
        assert abs(each.gain) < 0.1


def test_the_model_needs_the_planted_circuit_and_not_a_wrong_one(evaluation, right, wrong):
    for each in necessity(evaluation, right, 20, 0):
        assert (each.outcome, each.n_worse) == ("holds", 20), each.kind
        assert each.faithfulness.value[0] < 0.1
        assert each.random.mean() > 0.9
    assert {each.outcome for each in necessity(evaluation, wrong, 20, 0)} <= {"fails", "not shown"}


def test_what_cannot_be_compared_says_why(evaluation, everything):
    most = everything.copy()
    most[::3] = False
    uniform, matched = necessity(evaluation, most, 20, 0)
    assert uniform.outcome == matched.outcome == "not testable"
    n_in, n_out = int(most.sum()), int((~most).sum())
    assert uniform.why_not == (
        f"the circuit has {n_in} edges and {n_out} are outside it, too few for random ones of the same number"
    )
    assert {each.why_not for each in sufficiency(evaluation, everything, 20, 0)} == {"the circuit has all edges"}


@pytest.mark.parametrize(
    ("n_as_good", "gain", "p_value", "outcome"),
    [(0, 0.5, 0.01, "holds"), (0, 0.1, 0.01, "not shown"), (9, 0.5, 0.1, "not shown"), (60, 0.0, 0.61, "fails")],
)
def test_outcomes(n_as_good, gain, p_value, outcome):
    comparison = Comparison("uniform", Estimate(*np.ones((3, 1))), np.zeros(99), n_as_good, gain)
    assert comparison.p_value == pytest.approx(p_value)
    assert comparison.outcome == outcome


def test_far_above_one_is_not_faithful(evaluation, right):
    """A circuit is compared by its distance from f = 1, so one at 3 is worse than one at 0."""
    tripled = evaluation.whole * 3 - evaluation.empty * 2

    class Tripled(type(evaluation)):
        def logit_diffs(self, circuits):
            return np.concatenate([tripled, np.repeat(self.empty, len(circuits) - 1, axis=0)])

    far = Tripled(evaluation.runner, evaluation.whole, evaluation.empty)
    uniform = sufficiency(far, right, 20, 0)[0]
    assert uniform.faithfulness.value[0] == pytest.approx(3)
    assert (uniform.n_as_good, uniform.outcome) == (20, "fails")
