from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from ioi_lab.stats.bootstrap import MIN_PROMPTS, Bootstrap, Estimate, _quantiles

finite = st.floats(-50, 50, width=32)


def values(n_edit_sets=3, n_prompts=9):
    return arrays(np.float64, (n_edit_sets, n_prompts), elements=finite)


@given(values())
def test_a_mean_lies_within_its_interval_which_has_a_width_or_is_unknown(x):
    estimate = Bootstrap(9, seed=0).mean(x)
    assert estimate.value == pytest.approx(x.mean(axis=1))
    known = np.isfinite(estimate.low)
    assert (estimate.low[known] < estimate.high[known]).all()
    assert (estimate.low[known] <= estimate.value[known] + 1e-9).all()
    assert (estimate.high[known] >= estimate.value[known] - 1e-9).all()
    assert (np.isfinite(estimate.high) == known).all()


@given(values(), st.floats(0.5, 20), finite)
def test_an_interval_moves_and_stretches_with_the_values(x, factor, constant):
    one, other = (Bootstrap(9, seed=0).mean(each) for each in (x, factor * x + constant))
    known = np.isfinite(one.low) & np.isfinite(other.low)
    spread = 1e-5 * (1 + np.abs(factor * x).max() + abs(constant))
    assert other.low[known] == pytest.approx(factor * one.low[known] + constant, abs=spread)
    assert other.high[known] == pytest.approx(factor * one.high[known] + constant, abs=spread)


@pytest.mark.parametrize("n", [8, 16])
def test_intervals_of_skewed_values_cover_their_mean(n):
    """A percentile bootstrap covers 0.84 and 0.90 here, measured with the same draws."""
    rng = np.random.default_rng(0)
    x = rng.exponential(size=(4000, n))
    estimate = Bootstrap(n, seed=1).mean(x)
    covered = (estimate.low <= 1) & (estimate.high >= 1)
    assert covered.mean() > 0.92


def test_values_that_do_not_vary_in_many_resamples_have_an_interval_near_their_range():
    """Two values among nine prompts: one resample in three has only one of them."""
    estimate = Bootstrap(9, seed=0).mean(np.array([[0.0, *[1.75] * 8]]))
    assert -3.5 < estimate.low[0] < estimate.value[0] < estimate.high[0] < 3.5


def test_values_that_do_not_vary_have_no_interval():
    estimate = Bootstrap(9, seed=0).mean(np.array([[0.1] * 9, [0.0] * 9, [*range(9)]]))
    assert np.isnan(estimate.low).tolist() == [True, True, False]
    assert not estimate.differs().tolist()[0]


def test_shares_have_wilson_intervals():
    shares = Bootstrap(16, seed=0).share(np.array([[1.0] * 16, [1.0] * 12 + [0.0] * 4]))
    assert shares.value.tolist() == [1.0, 0.75]
    expected = binomtest(16, 16).proportion_ci(0.95, method="wilson")
    assert (shares.low[0], shares.high[0]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(Bootstrap(7, seed=0).share(np.ones((1, 7))).low).all()


GROUPS = np.repeat(np.arange(12), 5).tolist()


def test_a_mean_over_groups_is_the_ratio_of_their_sums_to_their_sizes():
    rng = np.random.default_rng(0)
    uneven = [*([0] * 9), *GROUPS]
    x = rng.normal(size=(2, len(uneven)))
    sums, sizes = (np.stack([row @ (np.array(uneven) == g) for g in range(12)]) for row in (x[0], np.ones(len(uneven))))
    grouped, of_sums = Bootstrap(len(uneven), 3, groups=uneven).mean(x), Bootstrap(12, 3).ratio(sums[None], sizes[None])
    assert grouped.value == pytest.approx(x.mean(axis=1))
    assert (grouped.low[0], grouped.high[0]) == pytest.approx((of_sums.low[0], of_sums.high[0]))


def test_intervals_over_groups_cover_the_mean_of_all_groups_and_those_over_prompts_do_not():
    rng = np.random.default_rng(0)
    covered = {"groups": [], "prompts": []}
    for seed in range(300):
        x = (rng.normal(size=12)[GROUPS] + 0.3 * rng.normal(size=len(GROUPS)))[None]
        for name, groups in (("groups", GROUPS), ("prompts", None)):
            estimate = Bootstrap(len(GROUPS), seed, groups=groups).mean(x)
            covered[name].append(estimate.low[0] <= 0 <= estimate.high[0])
    assert np.mean(covered["groups"]) > 0.91
    assert np.mean(covered["prompts"]) < 0.75


def test_values_that_are_alike_within_groups_have_a_design_effect():
    alike, mixed = np.array(GROUPS) % 2, np.tile([0.0, 1.0], 30)
    effect = Bootstrap(60, 0, groups=GROUPS).design_effect(np.stack([alike, mixed]).astype(float))
    assert effect == pytest.approx([5.0, 1.0])
    one, other = Bootstrap(60, 0, groups=GROUPS).share(alike[None]), Bootstrap(12, 0).share(alike[::5][None])
    assert (one.low[0], one.high[0]) == pytest.approx((other.low[0], other.high[0]))


def test_halves_have_every_prompt_once_and_keep_groups_together():
    first, second = Bootstrap(60, 5, groups=GROUPS).halves()
    assert sorted(first + second) == list(range(60))
    assert len(first) == 30
    assert not {GROUPS[prompt] for prompt in first} & {GROUPS[prompt] for prompt in second}
    assert Bootstrap(60, 5, groups=GROUPS).among(first).n_units == 6


def test_many_rows_are_estimated_like_few():
    x = np.random.default_rng(0).normal(size=(5000, 9))
    whole, part = Bootstrap(9, 0).mean(x), Bootstrap(9, 0).mean(x[4000:])
    assert whole.low[4000:] == pytest.approx(part.low)


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
    ratio = Bootstrap(9, seed=0).ratio(2 * denominators + [0, 1, 0] * 3, denominators)
    assert np.isnan(ratio.low).tolist() == [True, False]
    assert ratio.low[1] < ratio.value[1] < ratio.high[1]
    assert ratio.has_bounds


def test_a_bootstrap_over_other_prompts_is_that_of_the_same_seed():
    x = np.random.default_rng(0).normal(size=(1, 12))
    there, direct = Bootstrap(9, seed=3).over(12).mean(x), Bootstrap(12, seed=3).mean(x)
    assert (there.low, there.high) == (direct.low, direct.high)


ROWS = Estimate(np.array([0.5, 0.5, -0.5]), np.array([0.1, -0.1, np.nan]), np.array([0.9, 1.1, np.nan]))


def test_a_value_exceeds_a_bound_with_its_whole_interval_which_has_to_be_known():
    assert ROWS.exceeds().tolist() == [True, False, False]
    assert ROWS.exceeds(-0.6).tolist() == [True, True, False]
    assert ROWS.exceeds(0.1).tolist() == [False, False, False]  # above, not at
    assert ROWS.differs().tolist() == [True, False, False]
    assert ROWS.differs(1.0).tolist() == [True, False, False]


def test_rows_of_estimates_are_taken_joined_and_moved_with_their_bounds():
    assert ROWS.has_bounds
    assert not ROWS.rows(slice(2, None)).has_bounds
    assert ROWS.rows(slice(2)).has_bounds
    joined = Estimate.joined([ROWS.rows(slice(1, 2)), ROWS.rows(slice(1))])
    assert (joined.value.tolist(), joined.low.tolist(), joined.high.tolist()) == ([0.5, 0.5], [-0.1, 0.1], [1.1, 0.9])
    less = ROWS.rows(slice(2)).minus(1.0)
    assert (less.value.tolist(), less.low.tolist()) == ([-0.5, -0.5], [-0.9, -1.1])
    assert less.high == pytest.approx([-0.1, 0.1])


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8]])
def test_resampled_ratios_are_those_of_the_drawn_prompts(groups):
    rng = np.random.default_rng(0)
    above, below = rng.normal(size=(3, 12)), 2 + rng.random((1, 12))
    bootstrap = Bootstrap(12, 0, 2000, groups)
    ratios = bootstrap.resampled_ratio(above, below)
    assert ratios.shape == (3, 2000)
    assert ratios.mean(axis=1) == pytest.approx(bootstrap.ratio(above, below).value, abs=0.03)
    assert bootstrap.resampled_ratio(below * 3, below) == pytest.approx(np.full((1, 2000), 3.0))
    assert np.isnan(bootstrap.resampled_ratio(above, below - below.mean() - 0.01)).any()


def test_the_difference_of_independent_estimates():
    """Zou & Donner 2008: the distances of the bounds add up as squares."""
    one, other = (Estimate(*(np.array([value]) for value in values)) for values in ((5, 2, 6), (1, 0.5, 5)))
    got = one.less(other)
    assert (got.value[0], got.low[0], got.high[0]) == pytest.approx((4, 4 - 5, 4 + np.hypot(1, 0.5)))
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        samples = rng.normal([[1.0], [0.3]], 1.0, (2, 20))
        first, second = (Bootstrap(20, seed + 1000 * row).mean(samples[[row]]) for row in range(2))
        difference = first.less(second)
        inside += bool(difference.low[0] <= 0.7 <= difference.high[0])
    assert 180 <= inside <= 199


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_quantiles_are_those_of_numpy_to_the_last_bit(count):
    shares = (0.025, 0.5, 0.975, 1.0)
    values = np.random.default_rng(count).normal(size=(50, count)) * 10.0 ** np.arange(-25, 25)[:, None]
    values[3, 0], values[4, -1] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        expected = np.quantile(values, shares, axis=1)
    np.testing.assert_array_equal(_quantiles(values, shares), expected)
