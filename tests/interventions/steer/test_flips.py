from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.interventions.steer.flips import flipped_by_side, flips, pushes_away, strongest_scale
from ioi_lab.stats.metrics import Readout

SCALES = [-2.0, -1.0, 0.0, 1.0, 2.0]


def test_a_prompt_flips_if_its_preference_changes_in_either_direction():
    clean = Readout(np.array([[1.0, -1.0, 2.0]]))
    assert flips(Readout(np.array([[-3.0, 2.0, 0.5]])), clean).tolist() == [[1, 1, 0]]


@pytest.mark.parametrize(
    ("slope", "clean_mean", "away"),
    [(1.0, 3.0, [True, True, False, False, False]), (1.0, -3.0, [False, False, False, True, True])],
)
def test_scales_push_away_from_what_the_model_prefers(slope, clean_mean, away):
    assert pushes_away(SCALES, slope, clean_mean).tolist() == away
    assert pushes_away(SCALES, -slope, -clean_mean).tolist() == away


@pytest.mark.parametrize(
    ("flipped", "expected"),
    [
        ([1.0, 0.5, 0.0, 0.0, 0.0], -2.0),  # the one at which most prompts flip
        ([0.8, 0.8, 0.0, 0.0, 0.0], -1.0),  # of equal ones, the smaller scale
        ([0.2, 0.1, 0.0, 0.9, 1.0], -2.0),  # only scales that push away count
        ([0.0, 0.0, 0.0, 0.0, 0.0], -1.0),  # without flips, the one that moves the mean most
    ],
)
def test_the_strongest_scale(flipped, expected):
    logit_diff = np.array([2.0, 1.0, 3.0, 4.0, 9.0])
    away = pushes_away(SCALES, 1.0, 3.0)
    assert SCALES[strongest_scale(SCALES, logit_diff, np.array(flipped), away, 3.0)] == expected


def test_flips_by_side_leave_out_sides_without_prompts():
    flipped = np.array([1.0, 0.0, 1.0, 1.0])
    assert flipped_by_side(flipped, [1, 1, -1, -1]) == {"positive": 0.5, "negative": 1.0}
    assert flipped_by_side(flipped, [1, 1, 1, 1]) == {"positive": 0.75}
