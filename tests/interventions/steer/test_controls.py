from __future__ import annotations

import dataclasses

import numpy as np
import pytest


def test_random_directions_have_the_norms_of_the_steered_ones(result):
    lengths = np.linalg.norm(result.steps[1].directions, axis=1)
    assert result.steps[1].norms == pytest.approx(lengths)
    means = result.controls.readout.logit_diff.mean(axis=1).reshape(6, 3)
    assert result.controls.means == pytest.approx(means)
    assert result.controls.lowest == pytest.approx(means.min(axis=0))
    assert result.is_outside_band == (not result.controls.includes(result.estimates["logit_diff"].value[4], 1))


def test_a_band_includes_its_ends(result):
    controls = dataclasses.replace(result.controls, low=np.array([0.0, 1.0]), high=np.array([1.0, 2.0]))
    assert [controls.includes(value, 1) for value in (0.9, 1.0, 1.5, 2.0, 2.1)] == [False, True, True, True, False]
