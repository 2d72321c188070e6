"""Forest plots: the same rows in panels with scales of their own."""

from __future__ import annotations

import numpy as np

from ioi_lab.reports import plots
from tests.reports.plots.helpers import texts

NAN = np.full(3, np.nan)
SHARE = plots.Forest(
    "heads",
    "change in recovery",
    np.array([0.9, np.nan, -0.25]),
    np.array([0.8, np.nan, np.nan]),
    np.array([0.95, np.nan, np.nan]),
    missing=["", "skipped", ""],
    has_zero=True,
)
COUNT = plots.Forest("tests", "tests hold", np.array([4.0, 4.0, np.nan]), NAN, NAN, missing=["", "", "failed"])


def test_each_row_has_its_point_its_interval_and_its_number():
    figure = plots.forests(["a", "b", "c"], [SHARE, COUNT], "title", "the unedited run")
    share, count = figure.axes
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in share.lines if line.get_marker() == "o"]
    assert points == [(0.9, 0), (-0.25, 2)]
    (bounds,) = [lines.get_segments()[0] for lines in share.collections]
    assert bounds[:, 0].tolist() == [0.8, 0.95]
    assert bounds[:, 1].tolist() == [0, 0]
    assert texts(share) == ["0.90 [0.80, 0.95]", "skipped", "−0.25"]
    assert texts(count) == ["4", "4", "failed"]
    assert [tick.get_text() for tick in share.get_yticklabels()] == ["a", "b", "c"]
    assert share.yaxis_inverted()
    assert (share.get_title(), share.get_xlabel()) == ("heads", "change in recovery")


def test_only_panels_of_edits_have_a_line_at_0_and_counts_have_whole_ticks():
    figure = plots.forests(["a", "b", "c"], [SHARE, COUNT], "title", "the unedited run")
    share, count = figure.axes
    dashed = [[line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"] for ax in (share, count)]
    assert dashed == [[0], []]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["the unedited run"]
    assert all(tick % 1 == 0 for tick in count.get_xticks())
    assert not plots.forests(["a", "b", "c"], [COUNT], "title", "the unedited run").legends


def test_of_many_rows_and_panels_some_are_drawn_and_the_title_says_so():
    n_rows = 60
    values = np.linspace(0, 1, n_rows)
    panel = plots.Forest("step", "share", values, values - 0.1, values + 0.1)
    figure = plots.forests([f"study {row}" for row in range(n_rows)], [panel] * 20, "title", "no edit")
    title = " ".join(figure.get_suptitle().split())
    assert "16 of 20 panels, the first" in title
    assert "24 of 60 rows, evenly spread" in title
    assert len(texts(figure.axes[0])) == 24
    assert texts(figure.axes[0])[-1] == "1.00 [0.90, 1.10]"
    assert max(figure.get_size_inches()) <= 20
