from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.stats.metrics import Readout


@pytest.mark.parametrize("probabilities", [True, False])
def test_readout(probabilities):
    readout = Readout.empty(2, 3, probabilities=probabilities)
    assert (readout.kl is None) is not probabilities
    names = ["logit_diff", "answer_logit", "distractor_logit"]
    names += ["p_answer", "p_distractor", "kl"] if probabilities else []
    for name in names:
        assert not readout.is_finite()
        readout.write(np.ix_([0, 1], [0, 1, 2]), **{name: np.full((2, 3), 0.5)})
    assert readout.is_finite()
    readout.write(np.ix_([0], [0, 2]), logit_diff=np.array([[1.0, -0.5]]))
    assert readout.correct[0].tolist() == [1, 1, 0]
    assert readout.select(slice(1)).logit_diff.tolist() == [[1.0, 0.5, -0.5]]


def test_missing_values_are_found_by_edit_set_and_prompt():
    readout = Readout(np.array([[1.0, np.nan], [2.0, 3.0]]), answer_logit=np.array([[1.0, 1.0], [np.inf, 1.0]]))
    assert readout.not_finite().tolist() == [[False, True], [True, False]]


def test_the_largest_logit_is_that_of_either_token_by_absolute_value():
    one = np.ones((1, 1))
    assert Readout(9 * one, answer_logit=2 * one, distractor_logit=-5 * one).largest_logit == 5.0
    assert Readout(9 * one, answer_logit=2 * one).largest_logit == 2.0
    assert Readout(9 * one).largest_logit == 0.0
