from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.stats.responses import (
    LINEAR_R2,
    Response,
    initial_slopes,
    inside_the_others_band,
    is_monotone,
    limit_of_maxima,
    linear_range,
    prediction_band,
    r_squared,
    scales_next_to_zero,
    slopes,
)

SCALES = np.arange(-4.0, 5.0)


def test_a_line_is_linear_over_all_scales():
    linear = linear_range(SCALES, 3 - 0.5 * SCALES)
    assert (linear.first, linear.last) == (0, 8)
    assert linear.r2 == pytest.approx(1)


def test_a_response_that_levels_off_is_linear_around_0():
    linear = linear_range(SCALES, np.tanh(SCALES))
    assert (linear.first, linear.last) == (3, 5)
    assert linear.r2 == pytest.approx(1)
    wider = r_squared(SCALES[2:7], np.tanh(SCALES[2:7]))
    assert wider < LINEAR_R2


def test_one_straight_side_is_enough():
    linear = linear_range(SCALES, np.minimum(SCALES, 0.0))
    assert (linear.first, linear.last) == (0, 4)


def test_without_a_line_it_is_the_narrowest_range_with_its_r_squared():
    linear = linear_range(SCALES, np.abs(SCALES) ** 3 * np.where(np.arange(9) % 2, 1, -1))
    assert linear.last - linear.first == 2
    assert linear.r2 < LINEAR_R2
    assert not linear.is_linear


def test_without_a_linear_range_there_are_no_slopes():
    bent = Response.of([-1.0, 1.0], np.full((2, 3), 4.0), np.zeros(3))
    assert not bent.linear.is_linear
    assert np.isnan(bent.slopes).all()
    assert list(bent.linear_scales) == [-1, 0, 1]  # the narrowest range, to which R² belongs
    line = Response.of([-1.0, 1.0], np.array([[-2.0] * 3, [2.0] * 3]), np.zeros(3))
    assert line.linear.is_linear
    assert line.slopes == pytest.approx([2] * 3)


def test_a_range_in_which_nothing_changes_is_linear():
    linear = linear_range(SCALES, np.where(np.abs(SCALES) < 2, 0.0, 1.0))
    assert (linear.first, linear.last, linear.is_linear) == (3, 5, True)
    rounding = linear_range(SCALES, 1e-5 * np.random.default_rng(0).normal(size=9))
    assert (rounding.first, rounding.last, rounding.is_linear) == (0, 8, True)


def test_a_constant_and_a_single_scale():
    assert np.isnan(linear_range(SCALES, np.ones(9)).r2)
    two = Response.of([2.0], np.full((1, 3), 5.0), np.full(3, 1.0))
    assert two.slopes == pytest.approx([2.0] * 3)
    assert np.isnan(two.linear.r2)
    assert list(two.linear_scales) == [0, 2]
    assert Response.of([0.0], np.ones((1, 3)), np.ones(3)).slopes == pytest.approx([0] * 3)


def test_scales_are_put_in_order_with_the_unsteered_values_at_0():
    values = np.array([[1.0, 2.0], [-1.0, -2.0]])
    response = Response.of([1.0, -1.0], values, np.zeros(2))
    assert list(response.scales) == [-1, 0, 1]
    assert response.values == pytest.approx(np.array([[-1, -2], [0, 0], [1, 2]]))
    assert response.slopes == pytest.approx([1, 2])
    assert response.is_monotone


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 9), st.integers(0, 10_000))
def test_slopes_and_r_squared_are_those_of_numpy(count, seed):
    rng = np.random.default_rng(seed)
    scales, values = np.sort(rng.normal(size=count)), rng.normal(size=(count, 4))
    assert slopes(scales, values) == pytest.approx(np.polyfit(scales, values, 1)[0], abs=1e-8)
    assert slopes(scales, values).mean() == pytest.approx(np.polyfit(scales, values.mean(axis=1), 1)[0], abs=1e-8)
    fit = np.polyval(np.polyfit(scales, values[:, 0], 1), scales)
    explained = 1 - ((values[:, 0] - fit) ** 2).sum() / ((values[:, 0] - values[:, 0].mean()) ** 2).sum()
    assert r_squared(scales, values[:, 0]) == pytest.approx(explained, abs=1e-8)


@pytest.mark.parametrize(
    ("response", "expected"), [([1, 2, 4], True), ([3, 1, 0], True), ([1, 3, 2], False), ([1, 1, 2], False)]
)
def test_monotone(response, expected):
    assert is_monotone(np.array(response, dtype=float)) is expected


@pytest.mark.parametrize("count", [5, 10])
def test_a_further_sample_lies_in_the_band_19_times_out_of_20(count):
    rng = np.random.default_rng(0)
    samples = rng.normal(3.0, 2.0, size=(count + 1, 20_000))
    low, high = prediction_band(samples[:-1])
    assert ((low <= samples[-1]) & (samples[-1] <= high)).mean() == pytest.approx(0.95, abs=0.01)
    assert inside_the_others_band(samples).mean() == pytest.approx(0.95, abs=0.01)


def test_slopes_next_to_0_are_those_of_the_scales_on_both_sides():
    assert scales_next_to_zero([3.0, -2.0, 0.0, -0.5, 1.0]) == [-0.5, 1.0]
    assert scales_next_to_zero([2.0, 1.0]) == [1.0]
    assert scales_next_to_zero([0.0]) == []
    rng = np.random.default_rng(0)
    values, unsteered = rng.normal(size=(2, 5)), rng.normal(size=5)
    expected = np.polyfit([-0.5, 0, 1], np.stack([values[0], unsteered, values[1]]), 1)[0]
    assert initial_slopes([-0.5, 1.0], values, unsteered) == pytest.approx(expected)
    assert initial_slopes([], values[:0], unsteered) == pytest.approx([0] * 5)


@pytest.mark.parametrize("n_sites", [1, 4, 30])
@pytest.mark.parametrize("spread", ["equal", "very different"])
def test_a_null_direction_is_beyond_the_limit_at_its_steepest_site_about_1_time_in_20(n_sites, spread):
    """With 10 random directions; without accounting for the choice it would be 5, 17 and 51 %."""
    deviations = np.ones(n_sites) if spread == "equal" else np.exp(-np.arange(n_sites) / 3) + 0.05
    slopes = np.random.default_rng(0).normal(size=(4000, 11, n_sites)) * deviations
    steepest = np.abs(slopes).max(axis=2)
    is_beyond = [own > limit_of_maxima(np.array(random)) for own, *random in steepest]
    assert np.mean(is_beyond) == pytest.approx(0.05, abs=0.02)
    chosen = np.abs(slopes[:, 0]).argmax(axis=1)
    at_chosen = np.take_along_axis(slopes, chosen[:, None, None], axis=2)[:, :, 0]
    low, high = prediction_band(at_chosen[:, 1:].T)
    is_outside = (at_chosen[:, 0] < low) | (at_chosen[:, 0] > high)
    if spread == "equal":
        assert is_outside.mean() == pytest.approx({1: 0.05, 4: 0.17, 30: 0.5}[n_sites], abs=0.04)


def test_one_sample_far_from_the_others_is_outside_their_band():
    samples = np.array([[0.0], [0.1], [-0.1], [0.05], [9.0]])
    assert inside_the_others_band(samples)[:, 0].tolist() == [1, 1, 1, 1, 0]
