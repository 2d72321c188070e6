"""Strips: the same values by one key after another."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports import plots

VALUES = np.array([1.0, 2.0, 3.0, -4.0])
SCALE = plots.Strip(plots.Axis("scale", ["−1", "1"], [-1.0, 1.0]), np.array([0, 0, 1, 1]))
METHOD = plots.Strip(plots.Axis("method", ["a", "b", "c"]), np.array([0, 1, 2, 2]))


def dots_and_medians(ax):
    (dots,) = ax.collections
    (medians,) = [line for line in ax.lines if line.get_marker() == "_"]
    return np.asarray(dots.get_offsets()), medians


def test_every_panel_has_all_values_near_their_ticks_and_the_median_of_each_tick():
    figure = plots.strips([SCALE, METHOD], VALUES, "change", "title", zero="no edit")
    for ax, strip, expected in zip(figure.axes, (SCALE, METHOD), ([1.5, -0.5], [1, 2, -0.5]), strict=True):
        dots, medians = dots_and_medians(ax)
        assert dots[:, 1].tolist() == VALUES.tolist()
        gap = 2 if strip is SCALE else 1
        assert (np.abs(dots[:, 0] - strip.places[strip.ticks]) < gap / 4).all()
        assert medians.get_ydata().tolist() == expected
    assert [ax.get_xlabel() for ax in figure.axes] == ["scale", "method"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["median", "no edit"]


def test_medians_of_words_are_not_joined():
    scale, method = plots.strips([SCALE, METHOD], VALUES, "change", "title").axes
    assert dots_and_medians(scale)[1].get_linestyle() == "-"
    assert dots_and_medians(method)[1].get_linestyle() == "None"
    assert [tick.get_text() for tick in method.get_xticklabels()] == ["a", "b", "c"]
    assert not [line for line in scale.lines if line.get_linestyle() == "--"]


def test_the_same_values_make_the_same_figure():
    first, second = (plots.png(plots.strips([METHOD], VALUES, "change", "title")) for _ in range(2))
    assert first == second


def test_values_below_the_floor_are_out_of_the_figure():
    (ax,) = plots.strips([METHOD], VALUES, "R²", "title", floor=-0.2).axes
    assert ax.get_ylim() == pytest.approx((-0.2, 3.16))
