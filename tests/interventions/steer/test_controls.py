from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ioi_lab.interventions.steer.controls import measure_controls
from ioi_lab.steering.methods import random_direction
from ioi_lab.steering.vectors import add_direction


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


def test_random_directions_are_steered_at_all_sites_with_their_norms(engine, result):
    """Slopes next to 0, from edits that are made and read again one by one."""
    controls, signs = result.controls, np.array(result.contrast.signs)
    held_out = engine.on(result.contrast.steered)
    unsteered = held_out.baseline("clean").logit_diff.mean()
    assert controls.slopes.shape == (6, 2)
    for site, step in enumerate(result.steps):
        for index in (0, 5):
            direction = random_direction(1.0, step.directions.shape[1], [*result.source.seeds(step.site), index])
            edits = add_direction(step.site, np.outer(signs * step.norms, direction), [-1.0, 0.5])
            means = [held_out.run([edit], "clean").logit_diff.mean() for edit in edits]
            slope = np.polyfit([-1.0, 0.0, 0.5], [means[0], unsteered, means[1]], 1)[0]
            assert controls.slopes[index, site] == pytest.approx(slope, abs=1e-4)
    assert controls.steepest == pytest.approx(np.abs(controls.slopes).max(axis=1))
    assert controls.steepest_limit > np.median(controls.steepest)


def test_the_random_directions_of_the_best_site_do_not_depend_on_the_other_sites(engine, result):
    alone = measure_controls(
        engine.on(result.contrast.steered),
        [result.steps[1]],
        0,
        result.source,
        result.contrast.signs,
        result.scales,
        result.initial.scales,
        6,
    )
    assert alone.means == pytest.approx(result.controls.means, abs=1e-4)
    assert alone.slopes[:, 0] == pytest.approx(result.controls.slopes[:, 1], abs=1e-4)
    assert alone.steepest_limit <= result.controls.steepest_limit + 1e-4
