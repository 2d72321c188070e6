"""The figures of a comparison, as data."""

from __future__ import annotations

import numpy as np

from ioi_lab.dashboard.compare_figures import difference_map, maps_figure, scatter_figure
from ioi_lab.dashboard.comparison import Comparison, Difference
from tests.dashboard.conftest import heads_table


def test_maps_share_one_colour_scale(leave, index_of):
    leave("a")
    leave("b", table=heads_table().assign(recovery=lambda table: 2 * table["recovery"]))
    comparison = Comparison.read(index_of(), ["a", "b"])
    grids = [comparison.grid(place, "recovery", ()) for place in (0, 1)]
    figure = maps_figure(grids, ["A", "B"], "recovery", [8, 8])
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}
    assert figure.layout.coloraxis.cmax == np.nanmax(grids[1].values)
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax


def test_differences_stand_in_the_cells_of_their_sites(leave, index_of):
    leave("a")
    comparison = Comparison.read(index_of(), ["a"])
    run = comparison.runs[0]
    known = [run.labels[3], run.labels[0]]
    value = np.array([1.0, -2.0])
    difference = Difference(known, value, value - 0.5, value + 0.5, np.array([True, False]), 8)
    figure = difference_map(comparison.grid(0, "logit_diff", ()), run.labels, difference, "title")
    found, pale = figure.data
    assert found.z[1][1] == 1.0
    assert pale.z[0][0] == -2.0
    assert np.isnan(found.z[2][0])
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-2.0, 2.0)
    assert "paired over 8 prompts" in found.hovertext[1][1]
    assert "not distinguishable from 0" in pale.hovertext[0][0]


def test_each_further_run_is_drawn_over_the_first(leave, index_of):
    leave("a")
    leave("b", {"seed": 1})
    comparison = Comparison.read(index_of(), ["a", "b"])
    figure = scatter_figure(comparison.runs, comparison.names, "recovery", comparison.common)
    points, diagonal = figure.data
    np.testing.assert_allclose(points.x, heads_table(0)["recovery"])
    np.testing.assert_allclose(points.y, heads_table(1)["recovery"])
    np.testing.assert_allclose(points.error_x.array, 0.1)
    assert list(diagonal.x) == list(diagonal.y)
    assert "<br>A: %{x:.3f}<br>B: %{y:.3f}" in points.hovertemplate


def test_the_run_on_the_x_axis_is_named_by_its_own_letter(leave, index_of):
    """The first run may have no results, and is not drawn then."""
    leave("a", status="failed")
    leave("b")
    leave("c", {"seed": 1})
    comparison = Comparison.read(index_of(), ["a", "b", "c"])
    figure = scatter_figure(comparison.runs[1:], comparison.names[1:], "recovery", comparison.common)
    assert "<br>B: %{x:.3f}<br>C: %{y:.3f}" in figure.data[0].hovertemplate
