"""The figures of steering show the values of the result, over the scales in ascending order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.steer.figures import MAX_LINES, SteeringFigures
from ioi_lab.stats.responses import Response
from tests.interventions.steer.by_hand import (
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

GRID = heads(*((layer, head) for layer in range(2) for head in range(3)))


def figures(result):
    return SteeringFigures(result, CONTEXT).all()


def lines_in(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (steering(layers(0), [1.0]), set()),
        (steering(layers(0), [1.0], p_other=estimate([0.1, 0.2, 0.3])), {"probabilities_by_scale"}),
        (steering(layers(0, 1), [1.0, 2.0]), {"logit_diff_by_layer_and_scale"}),
        (steering(layers(0, 1), [1.0, 2.0], [-2.0], strongest=0), set()),
        (steering([*layers(0), *layers(0, position="S2")], [1.0, 2.0]), set()),
        (steering(GRID, np.arange(6)), {"slope_by_head"}),
        (steering(GRID[:5], np.arange(5)), set()),
        (steering(GRID[:1], [1.0]), set()),
        (steering(layers(0), [1.0], text=text_effects([0])), {"side_effects_by_scale"}),
        (
            steering([*layers(0), *layers(0, position="S2")], [1.0, 2.0], text=text_effects([1, 0])),
            {"side_effects_by_scale", "efficiency_against_side_effect"},
        ),
    ],
)
def test_figures_are_those_that_suit_the_sites(result, names):
    assert set(figures(result)) == {"logit_diff_by_scale"} | names


def test_curves_go_by_ascending_scale_and_only_the_best_has_a_band():
    figure = figures(steering(layers(0, 1), [1.0, 2.0]))["logit_diff_by_scale"]
    (ax,) = figure.axes
    lines = lines_in(ax)
    assert list(lines) == ["layer 0", "layer 1"]
    assert lines["layer 0"].get_xydata().tolist() == [[-2, 1], [0, 3], [1, 4]]
    assert lines["layer 1"].get_xydata().tolist() == [[-2, -1], [0, 3], [1, 5]]
    (band,) = ax.collections
    edges = band.get_paths()[0].vertices
    assert {-1.25, -0.75, 4.75, 5.25} <= set(edges[:, 1])
    assert ax.get_xlabel() == "scale (vector norms)"
    title = " ".join(figure.get_suptitle().split())
    assert title.endswith("bands: 95 % intervals over prompts (layer 1)")


def test_of_many_sites_the_steepest_are_shown_in_the_order_of_the_sites():
    slopes = [0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.5]
    lines = lines_in(figures(steering(layers(*range(8)), slopes))["logit_diff_by_scale"].axes[0])
    assert list(lines) == [f"layer {index}" for index in (1, 3, 4, 5, 6, 7)]
    assert len(lines) == MAX_LINES


def test_a_curve_without_a_linear_range_says_so():
    result = steering(layers(0, 1), [1.0, 2.0])
    bent = Response.of([-1.0, 1.0], np.array([[2.0], [2.0]]), np.zeros(1))
    figure = figures(replace(result, responses=[result.responses[0], bent]))["logit_diff_by_scale"]
    assert list(lines_in(figure.axes[0])) == ["layer 0", "layer 1, no linear range"]


def test_a_curve_whose_slope_may_be_0_says_so():
    result = steering(layers(0, 1), [1.0, 2.0], initial=initial([1.0, 2.0], found=[1]))
    assert list(lines_in(figures(result)["logit_diff_by_scale"].axes[0])) == ["layer 0, slope may be 0", "layer 1"]


def test_random_directions_are_a_dashed_line_with_their_band():
    result = steering(layers(0, 1), [1.0, 2.0], controls=controls())
    figure = figures(result)["logit_diff_by_scale"]
    line = lines_in(figure.axes[0])["2 random directions\nof the norm at layer 1"]
    assert line.get_linestyle() == "--"
    assert line.get_ydata() == pytest.approx([3, 3, 3])
    assert len(figure.axes[0].collections) == 2
    edges = figure.axes[0].collections[-1].get_paths()[0].vertices
    assert {(-2.0, 1.0), (-2.0, 5.0), (1.0, 2.0), (1.0, 4.0)} <= {tuple(edge) for edge in edges.tolist()}
    title = " ".join(figure.get_suptitle().split())
    assert title.endswith("95 % band of a random direction there (grey), not corrected for the choice of the site")


def test_probabilities_are_those_of_the_best_site():
    result = steering(layers(0, 1), [1.0, 2.0], p_other=estimate([0.3, 0.1, 0.2]))
    figure = figures(result)["probabilities_by_scale"]
    lines = lines_in(figure.axes[0])
    assert list(lines) == ["answer", "distractor", "all other tokens"]
    assert lines["answer"].get_ydata() == pytest.approx([0.49, 0.53, 0.55])
    assert lines["distractor"].get_ydata() == pytest.approx([0.26, 0.22, 0.20])
    assert lines["all other tokens"].get_ydata() == pytest.approx([0.1, 0.2, 0.3])
    assert figure.get_suptitle().splitlines()[0] == "Steering resid_post at END, layer 1"


def test_the_map_of_layers_has_a_column_per_scale():
    figure = figures(steering(layers(1, 0), [1.0, 2.0]))["logit_diff_by_layer_and_scale"]
    ax = figure.axes[0]
    assert ax.images[0].get_array().tolist() == [[1, 3, 4], [-1, 3, 5]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["1", "0"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["−2", "0", "1"]
    assert figure.get_suptitle().endswith("without steering: 3.00")


def test_the_map_of_heads_outlines_the_steepest_beyond_random_directions():
    slopes = [0.5, -1.0, 0.25, 2.0, 0.0, 1.5]
    figure = figures(steering(GRID, slopes))["slope_by_head"]
    ax = figure.axes[0]
    assert ax.images[0].get_array().tolist() == [slopes[:3], slopes[3:]]
    outlines = {(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in ax.patches}
    assert outlines == {(1, 0), (1, 2), (0, 1)}
    assert "outlined: the steepest, beyond random directions at any site" in figure.get_suptitle()
    one = figures(steering(GRID, slopes, beyond_random=[3]))["slope_by_head"]
    assert len(one.axes[0].patches) == 1
    few = figures(steering(GRID[:3], slopes[:3]))["slope_by_head"]
    assert len(few.axes[0].patches) == 0
    assert "outlined" not in few.get_suptitle()


def test_heads_that_are_not_distinguishable_from_0_are_pale_and_without_number():
    slopes = [0.5, -1.0, 0.25, 2.0, 0.0, 1.5]
    result = steering(GRID, slopes, initial=initial(slopes, found=[3, 5]), beyond_random=[])
    figure = figures(result)["slope_by_head"]
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["2.00", "1.50"]
    assert (ax.images[0].get_alpha() < 1).tolist() == [[True] * 3, [False, True, False]]
    title = " ".join(figure.get_suptitle().split())
    assert title.endswith("pale, without number: not distinguishable from 0, corrected for the number of effects")
    assert len(ax.patches) == 0
    nothing = figures(steering(GRID, [0.001] * 6, initial=initial([0.001] * 6, found=[])))["slope_by_head"]
    assert nothing.axes[0].images[0].get_clim() == pytest.approx((-0.1, 0.1))
    assert "pale" not in figures(steering(GRID, slopes, initial=untested(slopes)))["slope_by_head"].get_suptitle()


def test_effects_on_text_are_drawn_in_the_order_of_the_sites():
    result = steering(layers(0, 1, 2), [1.0, 3.0, 2.0], text=text_effects([1, 2]))
    figure = figures(result)["side_effects_by_scale"]
    loss, agreement = (lines_in(ax) for ax in figure.axes)
    assert list(loss) == list(agreement) == ["layer 1", "layer 2"]
    assert loss["layer 1"].get_ydata() == pytest.approx([0.1] * 3)
    assert agreement["layer 2"].get_ydata() == pytest.approx([0.8] * 3)
    title = " ".join(figure.get_suptitle().split())
    assert "toy, some.txt, 7 passages, loss 4.00 without steering" in title
    assert title.endswith("95 % intervals over passages")


def test_efficiency_is_drawn_against_the_largest_rise():
    result = steering(
        layers(0, 1, 2), [1.0, 3.0, 2.0], text=text_effects([1, 2, 0]), efficiency=estimate([2.0, 6.0, np.nan])
    )
    ax = figures(result)["efficiency_against_side_effect"].axes[0]
    assert ax.collections[0].get_offsets().tolist() == [[0.1, 6.0], pytest.approx([0.3, 2.0])]
    assert {text.get_text() for text in ax.texts} == {"layer 1", "layer 0"}
    assert ax.get_ylabel() == "efficiency: slope of the logit difference\nper residual norm"
