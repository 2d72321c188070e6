from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports import plots
from tests.reports.plots.helpers import texts

ONE = (np.array([0.0, 1.0]), np.array([2.0, 3.0]))
OTHER = (np.array([0.5]), np.array([1.0]))


def test_groups_differ_in_colour_and_marker_and_panels_share_axes():
    figure = plots.grouped_scatter({"a": {"IO": ONE, "S": OTHER}, "b": {"IO": OTHER, "S": ONE}}, "x", "y", "title")
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("a", "b")
    assert first.get_xlim() == second.get_xlim()
    io, s = first.collections
    assert io.get_offsets().tolist() == [[0.0, 2.0], [1.0, 3.0]]
    assert io.get_facecolor().tolist() != s.get_facecolor().tolist()
    assert len(io.get_paths()[0].vertices) != len(s.get_paths()[0].vertices)
    assert first.get_legend() is None
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["IO", "S"]


def test_the_line_of_equal_values_spans_both_axes():
    (ax,) = plots.grouped_scatter({"": {"sets": ONE}}, "x", "y", "title", line="equal").axes
    (line,) = ax.get_lines()
    assert line.get_xdata() == pytest.approx(line.get_ydata())
    assert min(line.get_xdata()) <= 0
    assert max(line.get_xdata()) >= 3


def test_scatter_names_the_points_farthest_out():
    x, y = np.array([0.0, 0.5, -0.9, 0.1]), np.array([0.0, 0.4, -1.0, 0.1])
    figure = plots.scatter(x, y, ["0.0", "0.1", "0.2", "0.3"], "exact", "estimate", "t", named=2, line="equal")
    ax = figure.axes[0]
    assert texts(ax) == ["0.2", "0.1"]
    assert ax.lines[0].get_xydata().tolist() == [[-1.0, -1.0], [0.5, 0.5]]  # the line of equal values
    assert ax.collections[0].get_offsets().tolist() == np.stack([x, y], axis=1).tolist()


def test_scatter_names_the_extremes_of_either_axis_apart():
    x, y = np.array([0.0, 1.0, 0.5, 0.99]), np.array([10.0, 0.0, 0.1, 0.0])
    figure = plots.scatter(x, y, ["up", "far", "mid", "near"], "x", "y", "t", named=2)
    assert set(texts(figure.axes[0])) == {"up", "far", "mid", "near"}
    placed = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert placed["far"] != placed["near"]
