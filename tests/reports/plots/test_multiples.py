from __future__ import annotations

import numpy as np

from ioi_lab.reports import plots
from ioi_lab.reports.plots.multiples import MAX_LINES
from ioi_lab.reports.plots.sizes import MAX_PANELS


def line(name, *values):
    known = np.array(values, dtype=float)
    return plots.Line(name, known, known - 0.1, known + 0.1)


def test_panels_share_axes_and_one_legend():
    panels = [plots.Multiple(title, [line("a", 1, 2), line("b", 3, 4)]) for title in ("p", "q")]
    axis = plots.Axis("scale", ["−1", "1"], [-1, 1])
    figure = plots.small_multiples(axis, panels, "change", "t", zero="no edit", line_label="layer")
    one, other = figure.axes
    assert one.get_shared_y_axes().joined(one, other)
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "layer"
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "no edit"]
    assert one.lines[1].get_xdata().tolist() == [-1, 1]
    assert figure.get_supylabel() == "change"


def test_means_are_drawn_with_the_values_below_them():
    panel = plots.Multiple("", [line("a", 1, 2)], [[(0.5, 1.5), (2.0,)]])
    figure = plots.small_multiples(plots.Axis("layer", ["0", "1"], [0, 1]), [panel], "v", "t")
    dots = [each.get_offsets().tolist() for each in figure.axes[0].collections[1:]]
    assert dots == [[[0, 0.5], [0, 1.5]], [[1, 2.0]]]
    assert figure.legends == []


def test_a_mean_of_no_values_has_no_dots():
    panel = plots.Multiple("", [line("a", 1, 2)], [[(), (2.0,)]])
    figure = plots.small_multiples(plots.Axis("layer", ["0", "1"], [0, 1]), [panel], "v", "t")
    assert [each.get_offsets().tolist() for each in figure.axes[0].collections[1:]] == [[[1, 2.0]]]


def test_what_is_left_out_is_said_and_missing_values_are_gaps():
    lines = [line(str(number), 1, np.nan, 2) for number in range(MAX_LINES + 5)]
    panels = [plots.Multiple(str(number), lines) for number in range(MAX_PANELS + 1)]
    figure = plots.small_multiples(plots.Axis("x", ["0", "1", "2"], [0, 1, 2]), panels, "v", "t")
    title = " ".join(figure.get_suptitle().split())
    assert f"{MAX_PANELS} of {MAX_PANELS + 1} panels" in title
    assert f"{MAX_LINES} of {MAX_LINES + 5} lines" in title
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0, 2]


def test_values_below_the_floor_do_not_hide_the_others():
    axis, panel = plots.Axis("x", ["0", "1"], [0, 1]), plots.Multiple("", [line("a", -40, 1)])
    assert plots.small_multiples(axis, [panel], "R²", "t", floor=-0.2).axes[0].get_ylim() == (-0.2, 1.06)
    assert plots.small_multiples(axis, [panel], "R²", "t").axes[0].get_ylim()[0] < -40
