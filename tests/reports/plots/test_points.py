from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports import plots

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
