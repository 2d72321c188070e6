from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ioi_lab.interventions.steer.slopes import InitialSlopes
from ioi_lab.stats.bootstrap import Bootstrap


class Prompts:
    """What of an engine slopes are taken over."""

    bootstrap = Bootstrap(16, seed=0)


def test_slopes_are_taken_and_tested_over_the_scales_next_to_0():
    """Far from 0 the responses do something else."""
    noise = np.random.default_rng(0).normal(size=(2, 16))
    own = np.array([[3.0], [0.0]]) + noise
    scales = [2.0, -4.0, 1.0, -1.0]
    values = np.stack([np.stack([np.full(16, 50.0), np.zeros(16), each, -each]) for each in own]) + 5.0
    initial = InitialSlopes.measure(Prompts(), scales, values, np.full(16, 5.0))
    assert initial.scales == [-1.0, 1.0]
    assert initial.slope.value == pytest.approx(own.mean(axis=1))
    assert initial.discoveries.p_value == pytest.approx(ttest_1samp(own, 0, axis=1).pvalue)
    assert initial.discoveries.found.tolist() == [True, False]


def test_changes_that_are_rounding_are_not_found():
    values = 5.0 + 4e-5 * np.array([[[-1.0] * 16, [1.0] * 16]])
    assert not InitialSlopes.measure(Prompts(), [-1.0, 1.0], values, np.full(16, 5.0)).discoveries.found.any()


def test_without_scales_next_to_0_slopes_are_0():
    initial = InitialSlopes.measure(Prompts(), [0.0], np.full((2, 1, 16), 5.0), np.full(16, 5.0))
    assert initial.scales == []
    assert initial.slope.value.tolist() == [0, 0]
    assert not initial.discoveries.found.any()
