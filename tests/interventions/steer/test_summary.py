"""The lines about a steering run state the fields of its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ioi_lab.interventions.steer.summary import CHANCE, summary_lines
from ioi_lab.interventions.steer.verdict import Verdict
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.responses import Response
from tests.interventions.steer.by_hand import (
    SOURCE,
    controls,
    estimate,
    heads,
    initial,
    layers,
    steering,
    text_effects,
    untested,
)
from tests.interventions.toy import CONTEXT


def lines_of(result):
    return summary_lines(result, CONTEXT)


def test_everything_that_was_measured_has_its_lines_in_order():
    result = steering(layers(0, 1), [1.0, 2.0], controls=controls(), text=text_effects([1]))
    result = replace(result, probe_accuracy=estimate([0.5, 0.9]), n_probed=8)
    starts = [
        "vector from 3 prompts", "slopes of the logit", "  layer 1", "  layer 0", "2 of 2 slopes are",
        "2 random directions of the same norms", "layer 1 at scale", "2 random directions of the same norm at",
        "the probe of layer 1", "ordinary text", "toy is steered by this direction",
    ]  # fmt: skip
    lines = lines_of(result)
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    assert len(lines_of(steering(layers(0), [1.0]))) == 6  # without random directions, probe and text


@pytest.mark.parametrize(
    ("contrast", "file", "line"),
    [
        (
            {},
            None,
            "vector from 3 prompts (mean difference), steered: 4 prompts with other names",
        ),
        (
            {"names_differ": False},
            None,
            "vector from 3 prompts (mean difference), steered: 4 prompts not among these, with the same names",
        ),
        (
            {"n_dropped": 2},
            None,
            "vector from 3 prompts (mean difference), steered: 4 prompts with other names; 2 with names of both halves "
            "left out",
        ),
        ({}, Path("v.safetensors"), "vector from v.safetensors, steered: 4 prompts with other names"),
        (
            {"names_differ": False},
            Path("v.safetensors"),
            "vector from v.safetensors, steered: 4 prompts which may be among its own, with the same names",
        ),
    ],
)
def test_the_prompts_and_the_source_of_the_vector(contrast, file, line):
    result = steering(layers(0), [1.0], source=replace(SOURCE, file=file))
    result = replace(result, contrast=replace(result.contrast, **contrast))
    assert lines_of(result)[0] == f"{line} (logit difference 3.00, accuracy 1.00)"


def test_slopes_are_listed_from_the_steepest_to_the_fifth():
    lines = lines_of(steering(layers(*range(7)), [0.1, -0.7, 0.3, 0.2, 0.6, 0.5, 0.4]))
    assert lines[1] == (
        "slopes of the logit difference per unit of scale (in vector norms) from −2 to 1, 7 sites ranked on these "
        "prompts, with 95 % intervals over prompts:"
    )
    assert [" ".join(line.split()[:3]) for line in lines[2:7]] == [
        "layer 1 -0.700", "layer 4 0.600", "layer 5 0.500", "layer 6 0.400", "layer 2 0.300",
    ]  # fmt: skip
    assert lines[2] == (
        "  layer 1        -0.700 [-0.950, -0.450], over the linear range from −2 to 1 -0.700 [-0.950, -0.450], R² "
        "1.000, efficiency -1.40 per residual norm"
    )
    assert lines[7] == "7 of 7 slopes are distinguishable from 0 (t-test over prompts, Benjamini–Hochberg at 5 %)"
    assert lines[8].startswith("layer 1 at scale")


def test_slopes_that_may_be_0_are_not_listed():
    slopes = [0.1, -0.7, 0.3]
    some = steering(layers(0, 1, 2), slopes, initial=initial(slopes, found=[1]), found=[1])
    lines = lines_of(some)
    assert lines[2].startswith("  layer 1 ")
    assert lines[3].startswith("1 of 3 slopes is distinguishable from 0 (")
    none = steering(layers(0, 1, 2), slopes, initial=initial(slopes, found=[]), found=[], beyond_random=[])
    lines = lines_of(none)
    assert lines[1] == (
        "slopes of the logit difference per unit of scale (in vector norms) from −2 to 1: none of 3 slopes is "
        "distinguishable from 0 (t-test over prompts, Benjamini–Hochberg at 5 %); the steepest, with its 95 % interval "
        "over prompts:"
    )
    assert lines[2].startswith("  layer 1 ")
    assert lines[3].startswith("layer 1 at scale")
    lines = lines_of(steering(layers(0, 1, 2), slopes, initial=untested(slopes), found=[]))
    assert lines[1].endswith(", without tests (fewer than 8 prompts), so that each may be chance:")
    assert [line.split()[1] for line in lines[2:5]] == ["1", "2", "0"]


def test_a_response_without_a_linear_range_has_no_slope_over_it():
    result = steering(layers(0), [1.0])
    bent = Response.of([-1.0, 1.0], np.array([[2.0] * 4, [2.0] * 4]), np.zeros(4))
    line = lines_of(replace(result, responses=[bent], slopes=estimate([np.nan])))[2]
    assert line == "  layer 0        1.000 [0.750, 1.250], no linear range (R² 0.000 from −1 to 1)"


def test_random_directions_are_compared_at_their_steepest_sites():
    result = steering(layers(0, 1), [1.0, 2.0], controls=controls(), beyond_random=[1])
    assert lines_of(result)[5] == (
        "2 random directions of the same norms at all 2 sites, each at its steepest: absolute slopes of 0.10 to 0.10, "
        "and at most 0.10 for a further one with 95 %; 1 of 2 slopes is steeper"
    )
    line = lines_of(replace(result, steps=result.steps[:1], beyond_random=[], ranking=[0], found=[0]))[4]
    assert line.startswith("2 random directions of the same norms there: ")
    assert line.endswith("; none of 1 slope is steeper")


def test_a_line_without_variance_and_a_direction_without_length_have_no_numbers():
    flat = replace(steering(heads((0, 1)), [0.0]), efficiency=estimate([np.nan]))
    line = lines_of(flat)[2]
    assert line.startswith("  0.1 ")
    assert "R²" not in line
    assert "efficiency" not in line
    assert "ranked" not in lines_of(flat)[1]


def test_the_strongest_scale_is_that_of_the_best_site():
    line = (
        "layer 1 at scale −2: logit difference 3.00 → -1.00 [-1.25, -0.75], share of prompts that flip "
        "1.00 [1.00, 1.00]"
    )
    result = steering(layers(0, 1), [1.0, 2.0])
    assert lines_of(result)[5] == line
    both = replace(result, flipped_by_side={"positive": 0.75, "negative": 0.5})
    assert lines_of(both)[5] == f"{line} (answer is the first name 0.75, answer is the second name 0.50)"


def test_random_directions_are_those_at_the_strongest_scale():
    lines = lines_of(steering(layers(0), [1.0], controls=controls()))
    assert lines[6] == (
        "2 random directions of the same norm at that site and scale: 2.80 to 3.20, at most 0.25 of the prompts flip; "
        "95 % band of this site alone [1.00, 5.00] (over all scales, 0.75 of them lie in the band of the others)"
    )


@pytest.mark.parametrize(
    ("low", "line"),
    [
        (CHANCE, "warning: the probe of layer 0 is at chance (0.80 [0.50, 0.90] of 8 held-out activations): its "),
        (0.51, "the probe of layer 0 recognises the side of 0.80 [0.51, 0.90] of 8 held-out activations"),
    ],
)
def test_a_probe_is_at_chance_if_its_interval_includes_a_half(low, line):
    accuracy = Estimate(np.array([0.8]), np.array([low]), np.array([0.9]))
    assert lines_of(steering(layers(0), [1.0], probe_accuracy=accuracy, n_probed=8))[5].startswith(line)


def test_ordinary_text_is_that_of_the_strongest_scale():
    assert lines_of(steering(layers(0), [1.0], text=text_effects([0])))[5] == (
        "ordinary text (some.txt) at that scale: next-token loss 4.00 → 4.10 nats per token, the likeliest next token "
        "stays the same for 0.90 of the tokens"
    )


def test_the_verdict_comes_last():
    result = steering(layers(0), [1.0], verdict=Verdict("not steered", ("flips too few", "not monotone")))
    assert lines_of(result)[-1] == (
        "warning: toy is not steered by this direction: no scale flips more than half of the prompts with its whole "
        "interval; the logit difference is not monotone around 0"
    )
