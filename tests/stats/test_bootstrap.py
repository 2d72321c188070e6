from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ioi_lab.stats.bootstrap import MIN_PROMPTS, Bootstrap, Estimate

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


def test_a_denominator_that_changes_its_sign_leaves_the_other_rows_their_intervals():
    denominators = np.array([[1.0, -1.0, 2.0] * 3, [1.0, 2.0, 3.0] * 3])
    ratio = Bootstrap(9, seed=0).ratio(2 * denominators, denominators)
    assert ratio.value.tolist() == [2.0, 2.0]
    assert np.isnan(ratio.low).tolist() == [True, False]
    assert (ratio.low[1], ratio.high[1]) == (2.0, 2.0)
    assert not ratio.has_bounds


def test_a_bootstrap_over_other_prompts_is_that_of_the_same_seed():
    x = np.random.default_rng(0).normal(size=(1, 12))
    there, direct = Bootstrap(9, seed=3).over(12).mean(x), Bootstrap(12, seed=3).mean(x)
    assert (there.low, there.high) == (direct.low, direct.high)


ROWS = Estimate(np.array([0.5, 0.5, -0.5]), np.array([0.1, -0.1, np.nan]), np.array([0.9, 1.1, np.nan]))


def test_a_value_exceeds_a_bound_with_its_whole_interval_or_by_itself_without_one():
    assert ROWS.exceeds().tolist() == [True, False, False]
    assert ROWS.exceeds(-0.6).tolist() == [True, True, True]
    assert ROWS.exceeds(0.1).tolist() == [False, False, False]  # above, not at


def test_rows_of_estimates_are_taken_joined_and_moved_with_their_bounds():
    assert not ROWS.has_bounds
    assert ROWS.rows(slice(2)).has_bounds
    joined = Estimate.joined([ROWS.rows(slice(1, 2)), ROWS.rows(slice(1))])
    assert (joined.value.tolist(), joined.low.tolist(), joined.high.tolist()) == ([0.5, 0.5], [-0.1, 0.1], [1.1, 0.9])
    less = ROWS.rows(slice(2)).minus(1.0)
    assert (less.value.tolist(), less.low.tolist()) == ([-0.5, -0.5], [-0.9, -1.1])
    assert less.high == pytest.approx([-0.1, 0.1])
