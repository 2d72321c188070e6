"""Slopes in one layer and their intervals, against plain runs and simulations."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.interventions.transfer.slopes import RefitSpread, SlopeMeter, slope_scales, slopes_over
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.responses import Response
from ioi_lab.transfer.refits import Refits
from ioi_lab.transfer.vectors import CARRIED, NATIVE

SCALES = [-2.0, -1.0, 0.0, 0.5, 1.0]


def response(by_scale):
    scales = sorted(by_scale)
    values = np.array([[by_scale[scale]] * 3 for scale in scales])
    return Response.of(scales, values, np.zeros(3))


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ([-2.0, -1.0, 0.0, 0.5, 1.0], [-1, 0, 1]),
        ([-2.0, -1.0, 0.0, 0.5], [-2, -1, 0, 0.5]),  # nothing but 0 is symmetric
        ([0.0, 1.0, 2.0], [0, 1, 2]),
        ([0.0], [0]),
    ],
)
def test_slopes_are_over_scales_whose_opposite_was_measured_too(scales, expected):
    linear = response({scale: 3 * scale for scale in scales})
    assert slope_scales(linear).tolist() == expected
    if len(scales) > 1:
        assert slopes_over(linear, slope_scales(linear)) == pytest.approx(np.full(3, 3))


def test_effects_of_any_direction_cancel():
    """What does not depend on the sign of the scale has a slope of 0 over symmetric scales."""
    even = response({scale: -(scale**2) for scale in SCALES})
    assert slopes_over(even, np.array([-1.0, 0.0, 1.0])) == pytest.approx(np.zeros(3))
    assert slopes_over(even, np.array(SCALES)).mean() > 0.5


def test_slopes_of_many_vectors_are_those_of_each_alone(vectors):
    transfer, result, _ = vectors
    by_name = {each.name: each.vector for each in transfer.vectors_of_best}
    meter = SlopeMeter(transfer.target, transfer.best[1], result.slopes.scales)
    found = meter.slopes([by_name[NATIVE], by_name[CARRIED], np.zeros_like(by_name[NATIVE])]).mean(axis=1)
    assert found == pytest.approx([result.slopes.native.value[0], result.slopes.carried.value[0], 0], abs=1e-4)
    assert SlopeMeter(transfer.target, transfer.best[1], np.array([0.0])).slopes([by_name[NATIVE]]).any() == 0
    assert meter.slopes([]).shape == (0, result.n_prompts)


def test_the_spread_of_refits_is_that_of_their_mean_slopes(vectors):
    transfer, result, _ = vectors
    meter = SlopeMeter(transfer.target, transfer.best[1], result.slopes.scales)
    refits = Refits.of(transfer.target, transfer.route, transfer.best, 0)
    spread = RefitSpread.of(refits, meter, 12)
    native, carried, rescaled = (
        meter.slopes(part).mean(axis=1) for part in (refits.native, refits.carried, refits.at_native_norm)
    )
    assert spread.native_slope == pytest.approx(native.std(ddof=1), rel=1e-3)
    assert spread.slope == pytest.approx(carried.std(ddof=1), rel=1e-3)
    assert spread.slope_at_native_norm == pytest.approx(rescaled.std(ddof=1), rel=1e-3)
    assert spread.share == pytest.approx((carried / native).std(ddof=1), rel=1e-2)
    assert spread.share_at_native_norm == pytest.approx((rescaled / native).std(ddof=1), rel=1e-2)


def spread_of(value, n_prompts=16):
    return RefitSpread(n_prompts, *[value] * 5)


def test_intervals_without_bounds_stay_unknown():
    unknown = Estimate(*(np.array([value]) for value in (1.0, np.nan, np.nan)))
    assert not spread_of(0.5).widened(unknown, 0.5).has_bounds
    known = Estimate(*(np.array([value]) for value in (1.0, 0.9, 1.2)))
    assert not spread_of(np.nan).widened(known, np.nan).has_bounds
    assert spread_of(0.0).widened(known, 0.0) == known


@pytest.mark.parametrize("vector_noise", [0.0, 0.3, 3.0])
def test_widened_intervals_cover_the_slope_of_the_vector_of_all_prompts(vector_noise):
    """The slope of a vector made from 16 prompts varies, and so does each prompt's slope around it."""
    rng, covered = np.random.default_rng(0), []
    for seed in range(400):
        training = 2 + vector_noise * rng.standard_normal(16)
        held_out = training.mean() + rng.standard_normal(24)
        refits = rng.choice(training, size=(50, 16)).mean(axis=1)
        estimate = Bootstrap(24, seed, resamples=200).mean(held_out[None])
        both = spread_of(0.0).widened(estimate, refits.std(ddof=1))
        covered.append(both.low[0] <= 2 <= both.high[0])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.035)
