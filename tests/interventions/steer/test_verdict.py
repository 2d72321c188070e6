from __future__ import annotations

import pytest

from ioi_lab.interventions.steer.summary import verdict_line
from ioi_lab.interventions.steer.verdict import verdict_on

MET = {
    "has_direction": True,
    "pushes_away": True,
    "has_slope": True,
    "goes_its_way": True,
    "flips_most": True,
    "is_monotone": True,
    "steeper_than_random": True,
    "beyond_random": True,
}


def test_a_direction_steers_if_every_condition_is_met():
    verdict = verdict_on(**MET)
    assert verdict.is_steered
    assert verdict.reasons == ()
    assert verdict_line(verdict, "m") == (
        "m is steered by this direction: the effect is monotone around 0, most prompts flip, and random directions "
        "neither do as much there nor are as steep at any site"
    )


@pytest.mark.parametrize(
    ("missing", "reason", "words"),
    [
        ("has_slope", "no slope", "its slope is not shown to differ from 0"),
        ("goes_its_way", "pushes the other way", "it pushes the other way"),
        ("flips_most", "flips too few", "no scale flips more than half of the prompts with its whole interval"),
        ("is_monotone", "not monotone", "the logit difference is not monotone around 0"),
        (
            "steeper_than_random",
            "not steeper than random",
            "random directions of the same norm are as steep at their steepest site",
        ),
        (
            "beyond_random",
            "within the random band",
            "random directions of the same norm do as much at that scale",
        ),
    ],
)
def test_each_condition_that_is_not_met_is_a_reason(missing, reason, words):
    verdict = verdict_on(**(MET | {missing: False}))
    assert not verdict.is_steered
    assert verdict.reasons == (reason,)
    assert verdict_line(verdict, "m") == f"warning: m is not steered by this direction: {words}"


def test_an_effect_that_may_be_0_has_no_sign():
    assert verdict_on(**(MET | {"has_slope": False, "goes_its_way": False})).reasons == ("no slope",)


def test_without_a_direction_or_a_push_nothing_is_claimed():
    nothing = verdict_on(**(MET | {"has_direction": False, "beyond_random": False}))
    assert not nothing.is_steered
    assert verdict_line(nothing, "m") == "warning: nothing to steer m with: the sides do not differ at these sites"
    no_push = verdict_on(**(MET | {"pushes_away": False}))
    assert not no_push.is_steered
    assert verdict_line(no_push, "m").startswith("note: no scale pushes m away from what it prefers")
