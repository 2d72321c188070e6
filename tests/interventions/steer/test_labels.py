"""The names of sites, vectors and units, as the summary and the figures have them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ioi_lab.interventions.steer.labels import Labels
from tests.interventions.steer.by_hand import SOURCE, heads, layers, steering
from tests.interventions.toy import CONTEXT


def labels(sites, **changes):
    return Labels(steering(sites, [1.0] * len(sites), **changes), CONTEXT)


def test_a_site_is_its_layer_or_its_head():
    of_layers = labels(layers(0, 1))
    assert [of_layers.site(index) for index in (0, 1)] == ["layer 0", "layer 1"]
    assert labels(heads((1, 2))).site(0) == "1.2"


def test_positions_are_named_with_the_site_if_they_differ_and_else_in_the_title():
    one = labels(layers(0, 1, position="S2"))
    assert (one.site(0), one.title().splitlines()[0]) == ("layer 0", "Steering resid_post at S2")
    two = labels([*layers(0, position="S2"), *layers(0, position="END"), *layers(0, position="all")])
    assert [two.site(index) for index in range(3)] == ["layer 0 @ S2", "layer 0 @ END", "layer 0 @ all positions"]
    assert two.title().splitlines()[0] == "Steering resid_post"


def test_titles_name_the_vector_the_model_and_the_steered_prompts():
    assert labels(heads((1, 2))).title(", 1.2").splitlines() == [
        "Steering z at END, 1.2",
        "mean difference, James against Robert",
        "toy, toy task, 4 held-out prompts",
    ]


@pytest.mark.parametrize(
    ("contrast", "vector"),
    [("name_pair", "mean difference, James against Robert"), ("clean_corrupt", "mean difference, clean corrupt")],
)
def test_names_are_part_of_the_vector_only_if_the_contrast_replaces_them(contrast, vector):
    assert labels(layers(0), source=replace(SOURCE, contrast=contrast)).vector == vector


@pytest.mark.parametrize(
    ("sites", "unit", "expected"),
    [
        (layers(0), "vector", ("residual norm", "vector norms")),
        (layers(0), "residual", ("residual norm", "residual norms")),
        (heads((0, 1)), "vector", ("norm of the head's output", "vector norms")),
    ],
)
def test_the_units_of_scale_and_efficiency(sites, unit, expected):
    names = labels(sites, unit=unit)
    assert (names.norm, names.unit) == expected
