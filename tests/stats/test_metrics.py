from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ioi_lab.stats.bootstrap import MIN_PROMPTS, Bootstrap
from ioi_lab.stats.metrics import Readout

finite = st.floats(-50, 50, width=32)


def values(n_edit_sets=3, n_prompts=9):
    return arrays(np.float64, (n_edit_sets, n_prompts), elements=finite)


@given(values())
def test_mean_lies_within_its_interval_or_the_resamples_are_all_equal(x):
    estimate = Bootstrap(9, seed=0).mean(x)
    assert estimate.value == pytest.approx(x.mean(axis=1))
    assert (estimate.low <= estimate.high).all()
    assert (estimate.low >= x.min(axis=1) - 1e-6).all()
    assert (estimate.high <= x.max(axis=1) + 1e-6).all()


def test_interval_has_the_width_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, size=(1, 400))
    estimate = Bootstrap(400, seed=1, resamples=4000).mean(x)
    half_width = 1.96 * x.std(ddof=0) / np.sqrt(400)
    assert estimate.high[0] - estimate.value[0] == pytest.approx(half_width, rel=0.08)
    assert estimate.value[0] - estimate.low[0] == pytest.approx(half_width, rel=0.08)


@given(values(1), values(1), finite)
def test_recovery_is_linear_between_corrupted_and_clean(clean, corrupted, share):
    if abs((clean - corrupted).mean()) < 1:
        return
    edited = corrupted + share * (clean - corrupted)
    recovery = Bootstrap(9, seed=0).recovery(np.concatenate([corrupted, clean, edited]), clean, corrupted)
    assert recovery.value == pytest.approx([0, 1, share], abs=1e-6)


def test_same_seed_same_interval():
    x = np.arange(20.0).reshape(2, 10)
    first, again, other = (Bootstrap(10, seed).mean(x).low for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("n", [1, MIN_PROMPTS - 1])
def test_few_prompts_have_no_interval(n):
    estimate = Bootstrap(n, seed=0).mean(np.arange(n, dtype=float)[None])
    assert estimate.value == [(n - 1) / 2]
    assert np.isnan(estimate.low).all()
    assert np.isnan(estimate.high).all()


def test_a_gap_that_vanishes_in_a_resample_leaves_no_interval():
    clean, corrupted = np.array([[1.0, -1.0, 2.0] * 3]), np.zeros((1, 9))
    estimate = Bootstrap(9, seed=0).recovery(clean, clean, corrupted)
    assert estimate.value == [1.0]
    assert np.isnan(estimate.low).all()


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
