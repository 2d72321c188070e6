from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from ioi_lab.reports import plots

SAMPLES = [
    plots.Samples("few", np.array([0.5, -0.5, 0.1])),
    plots.Samples("many of a kind whose name is long", np.linspace(-1, 1, 41), threshold=0.9),
]


def spreads(*marked, notes=()):
    return plots.spreads(marked, SAMPLES, "slope", "title", notes)


def test_values_and_samples_have_a_row_each():
    figure = spreads(plots.Marked("own", 2.0, 1.5, 2.5), plots.Marked("other", 3.0, np.nan, np.nan))
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "own", "other", "few", "many of a kind whose name\nis long"
    ]  # fmt: skip
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "slope"
    for row, (drawn, samples) in enumerate(zip(ax.collections, SAMPLES, strict=True), start=2):
        x, y = np.asarray(drawn.get_offsets()).T
        assert x == pytest.approx(samples.values)
        assert (np.abs(y - row) < 0.5).all()
    strokes = [line.get_xdata()[0] for line in ax.lines if line.get_color() == plots.NEGATIVE]
    assert strokes == [0.5, 0.9]  # the largest, or the threshold


def test_intervals_are_drawn_if_they_are_known():
    known, unknown = (spreads(plots.Marked("own", 2.0, *bounds)) for bounds in ((1.5, 2.5), (np.nan, np.nan)))
    assert [tuple(patch.get_extents().get_points()[:, 0].round(6)) != () for patch in known.axes[0].patches] == [True]
    assert not unknown.axes[0].patches
    assert len(known.axes[0].lines) == len(unknown.axes[0].lines) + 1


def test_values_without_an_effect_are_pale():
    for is_pale, alpha in ((True, 0.3), (False, 1.0)):
        ax = spreads(plots.Marked("own", 2.0, 1.5, 2.5, is_pale)).axes[0]
        drawn = [line for line in ax.lines if to_rgba(line.get_color()) == to_rgba(plots.POSITIVE)]
        assert {line.get_alpha() for line in drawn} == {alpha}


def test_notes_are_wrapped_below_the_axis():
    figure = spreads(plots.Marked("own", 2.0, 1.5, 2.5), notes=["word " * 30, "end"])
    lines = figure.get_supxlabel().splitlines()
    assert len(lines) == 3
    assert lines[-1] == "end"
    assert plots.png(figure).startswith(b"\x89PNG")
