from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports import plots
from tests.reports.plots.helpers import LAYERS


def test_ranked_bars_keep_their_order_and_intervals():
    figure = plots.ranked_bars(
        plots.Axis("layer.head", ["9.9", "9.6"]),
        np.array([0.5, -0.2]),
        np.array([0.4, -0.3]),
        np.array([0.7, -0.1]),
        "v",
        "t",
    )
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["9.9", "9.6"]
    assert ax.yaxis_inverted()
    assert ax.get_ylabel() == "layer.head"
    assert "95 %" in ax.get_xlabel()
    assert len({bar.get_facecolor() for bar in ax.patches}) == 2
    segments = ax.collections[0].get_segments()
    assert np.array(segments)[:, :, 0] == pytest.approx(np.array([[0.4, 0.7], [-0.3, -0.1]]))


def test_without_intervals_none_are_promised():
    unknown = np.array([np.nan])
    bars = plots.ranked_bars(plots.Axis("head", ["0.0"]), np.array([1.0]), unknown, unknown, "v", "t")
    line = plots.interval_line(plots.Axis("layer", ["0"]), np.array([1.0]), unknown, unknown, "v", "t")
    assert "95 %" not in bars.axes[0].get_xlabel()
    assert [text.get_text() for text in line.axes[0].get_legend().get_texts()] == ["no edit"]


def test_line_panels_draw_the_bands_that_are_known():
    known = plots.Line("clean", np.array([1.0, 2.0]), np.array([0.5, 1.5]), np.array([1.5, 2.5]))
    unknown = plots.Line("corrupted", np.array([1.0, 3.0]), np.full(2, np.nan), np.full(2, np.nan), dashed=True)
    panels = [
        plots.LinePanel("logits", [known, unknown], zero=True),
        plots.LinePanel("rank", [unknown], logarithmic=True, floor=0.1),
    ]
    figure = plots.line_panels(LAYERS, panels, "title", "95 % intervals over prompts")
    left, right = figure.axes
    assert len(left.collections) == 1
    assert len(right.collections) == 0
    assert right.get_yscale() == "log"
    assert right.get_ylim()[0] == 0.1
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["clean", "corrupted"]
    assert "95 %" in figure.get_suptitle()
    assert "95 %" not in plots.line_panels(LAYERS, panels[1:], "title", "95 % intervals over prompts").get_suptitle()
    assert plots.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("values", "plain"), [([0.5, 4.0], True), ([1.0, 900.0], False)])
def test_ticks_of_a_logarithmic_scale_are_plain_numbers(values, plain):
    line = plots.Line("a", np.array(values), np.full(2, np.nan), np.full(2, np.nan))
    figure = plots.line_panels(LAYERS, [plots.LinePanel("KL", [line], logarithmic=True)], "title", "")
    figure.canvas.draw()
    axis = figure.axes[0].yaxis
    between = [label.get_text() for label in axis.get_minorticklabels() if label.get_text()]
    assert ("2" in between) is plain
    assert not any("$" in label.get_text() for label in [*axis.get_minorticklabels(), *axis.get_majorticklabels()])
