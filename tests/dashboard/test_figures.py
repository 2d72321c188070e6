"""What figures share."""

from __future__ import annotations

import numpy as np
from plotly.graph_objects import Figure

from ioi_lab.dashboard.figures import band, bounds, colour_scale, number, plain, styled, words
from tests.dashboard.conftest import HOSTILE


def test_markup_in_texts_is_text():
    assert "<" not in plain(HOSTILE)
    assert plain(HOSTILE).startswith("&lt;img")
    assert "<b>" not in styled(Figure(), HOSTILE).layout.title.text


def test_effects_are_centred_on_no_effect():
    scale = colour_scale(np.array([0.9, -0.2, np.nan]), 0.0)
    assert (scale["cmin"], scale["cmax"]) == (-0.9, 0.9)
    scale = colour_scale(np.array([0.4, 1.1]), 1.0)
    assert (round(scale["cmin"], 9), round(scale["cmax"], 9)) == (0.4, 1.6)


def test_a_map_of_next_to_nothing_is_pale():
    assert colour_scale(np.array([0.001, -0.001]), 0.0)["cmax"] == 0.1


def test_signed_levels_are_centred_on_0_and_shares_begin_there():
    signed = colour_scale(np.array([-3.0, 1.0]), None)
    assert (signed["colorscale"], signed["cmin"], signed["cmax"]) == ("RdBu", -3.0, 3.0)
    share = colour_scale(np.array([0.2, 0.7]), None)
    assert (share["colorscale"], share["cmin"], share["cmax"]) == ("Viridis", 0.0, 0.7)
    assert colour_scale(np.array([np.nan]), None)["cmax"] == 1.0


def test_numbers_and_intervals():
    assert number(-0.12345) == "−0.123"
    assert number(float("nan")) == number(None) == ""
    assert bounds(-0.1, 0.2) == " [−0.1, 0.2]"
    assert bounds(float("nan"), 1.0) == ""
    assert words("best_logit_diff") == "best logit difference"


def test_a_band_goes_along_the_upper_and_back_along_the_lower_bound():
    trace = band([1, 2], [0.1, 0.2], [0.5, 0.6], "red")
    assert trace["x"] == [1, 2, 2, 1]
    assert trace["y"] == [0.5, 0.6, 0.2, 0.1]
