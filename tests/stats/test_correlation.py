"""Correlations over prompts: NumPy's values, intervals that are right as often as they say, and no number for none."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.stats.correlation import correlation, correlations


def pairs(rng, rho, n_prompts):
    """Two rows of normal values with a correlation."""
    one, noise = rng.standard_normal((2, n_prompts))
    return one, rho * one + np.sqrt(1 - rho**2) * noise


def test_values_are_those_of_numpy():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((4, 20)), rng.standard_normal(20)
    expected = [np.corrcoef(row, other)[0, 1] for row in one]
    assert correlations(one, other) == pytest.approx(expected)
    assert correlation(one[0], other, Bootstrap(20, 0)).value == pytest.approx(expected[:1])


@pytest.mark.parametrize(("rho", "n_prompts"), [(0.0, 16), (0.6, 16), (0.9, 32)])
def test_intervals_have_about_their_coverage(rho, n_prompts):
    rng, covered, n_trials = np.random.default_rng(1), 0, 400
    bootstrap = Bootstrap(n_prompts, 0, resamples=400)
    for _ in range(n_trials):
        estimate = correlation(*pairs(rng, rho, n_prompts), bootstrap)
        covered += estimate.low[0] <= rho <= estimate.high[0]
    assert 0.91 < covered / n_trials < 0.985


def test_groups_of_copies_widen_the_interval():
    rng = np.random.default_rng(2)
    one, other = pairs(rng, 0.5, 12)
    copied = [np.repeat(values, 4) for values in (one, other)]
    alone = correlation(*copied, Bootstrap(48, 0))
    grouped = correlation(*copied, Bootstrap(48, 0, groups=[*np.repeat(np.arange(12), 4)]))
    assert grouped.value == pytest.approx(alone.value)
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_values_that_do_not_vary_have_no_correlation():
    rng = np.random.default_rng(3)
    other = rng.standard_normal(16)
    estimate = correlation(np.full(16, 2.0), other, Bootstrap(16, 0))
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    same = correlation(other, 3 * other, Bootstrap(16, 0))
    assert same.value == pytest.approx([1])
    assert np.isnan(same.low).all()
    few = correlation(*pairs(rng, 0.5, 5), Bootstrap(5, 0))
    assert np.isfinite(few.value).all()
    assert np.isnan(few.low).all()
