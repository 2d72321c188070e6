from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports import plots

SHARES = np.array([0.001, 0.01, 0.1, 1.0])
EDGES = np.array([32, 325, 3249, 32491])
UNKNOWN = np.full(4, np.nan)


def line(name, values, width=None):
    values = np.array(values)
    low, high = (UNKNOWN, UNKNOWN) if width is None else (values - width, values + width)
    return plots.Line(name, values, low, high)


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_curves_have_a_look_per_method_and_the_band_of_random_circuits_is_grey():
    lines = [line("exact", [0, 0.5, 0.9, 1], 0.1), line("eap", [0, 0.3, 0.8, 1], 0.1)]
    random = line("random (10 circuits)", [0, 0, 0.1, 1], 0.05)
    figure = plots.faithfulness_curves(
        SHARES, EDGES, lines, "title", "95 % intervals", random=random, half="0.5: chance"
    )
    (ax,) = figure.axes
    assert legend(figure) == ["exact", "eap", "random (10 circuits)", "0.5: chance"]
    assert ax.get_xscale() == "log"
    assert len(ax.collections) == 3
    first, second, grey = ax.lines[:3]
    assert len({first.get_color(), second.get_color(), grey.get_color()}) == 3
    assert first.get_marker() != second.get_marker()
    assert [each.get_ydata()[0] for each in ax.lines[3:]] == [0, 1, 0.5]
    assert figure.get_suptitle() == "title\nbands: 95 % intervals"
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks == ["100 %\n32,491", "10 %\n3,249", "1 %\n325", "0.1 %\n32"]
    assert plots.png(figure).startswith(b"\x89PNG")


def test_a_value_that_does_not_vary_has_a_band_without_width():
    curve = plots.Line(
        "a", np.array([0, 0.5, 0.9, 1]), np.array([-0.1, 0.4, 0.8, np.nan]), np.array([0.1, 0.6, 1, np.nan])
    )
    (ax,) = plots.faithfulness_curves(SHARES, EDGES, [curve], "title", "95 %").axes
    (band,) = ax.collections
    assert np.isfinite(band.get_paths()[0].vertices).all()
    assert [1.0, 1.0] in band.get_paths()[0].vertices.tolist()


def test_without_intervals_none_are_promised():
    figure = plots.faithfulness_curves(SHARES, EDGES, [line("a", [0, 0.5, np.nan, 1])], "title", "95 %")
    assert figure.get_suptitle() == "title"
    assert not figure.axes[0].collections


@pytest.mark.parametrize(
    ("values", "limits", "note"),
    [
        ([0, 0.5, 0.9, 1], (-0.1, 1.1), ""),
        ([0, 0.5, 10.4, 1], (-0.1, 2.5), "\nvalues above 2.5 are not drawn"),
        ([-7, 0.5, 1.5, 1], (-1.0, 1.6), "\nvalues below -1 are not drawn"),
    ],
)
def test_faithfulness_far_beyond_0_and_1_is_cut_and_said(values, limits, note):
    figure = plots.faithfulness_curves(SHARES, EDGES, [line("a", values)], "title", "")
    assert figure.axes[0].get_ylim() == pytest.approx(limits)
    assert figure.get_suptitle() == f"title{note}"


def test_jaccard_curves_show_what_random_circuits_have():
    figure = plots.jaccard_curves(SHARES, EDGES, [line("eap", [0.4, 0.5, 0.6, 1])], "exact", "title", "")
    assert legend(figure) == ["eap", "random circuits"]
    (ax,) = figure.axes
    assert ax.lines[1].get_ydata() == pytest.approx([0.001 / 1.999, 0.01 / 1.99, 0.1 / 1.9, 1])
    assert ax.get_ylabel() == "Jaccard index with exact"
    assert ax.get_ylim() == (-0.02, 1.02)
