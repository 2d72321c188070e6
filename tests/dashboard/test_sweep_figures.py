"""The figures of a sweep, as data."""

from __future__ import annotations

import pytest

from ioi_lab.dashboard.sweep_data import NONE, SweepData
from ioi_lab.dashboard.sweep_figures import hover_text, line_figure, map_figure, parallel_figure
from tests.dashboard.conftest import HOSTILE


@pytest.fixture
def data(leave, index_of):
    """Layers × methods: the metric is the layer, by the second method negative; one cell is missing."""
    for number, (layer, method) in enumerate([(0, "mean"), (1, "mean"), (2, "mean"), (0, HOSTILE), (2, HOSTILE)]):
        value = layer if method == "mean" else -layer
        leave(f"s/{number}", {"intervention.layer": layer, "intervention.method": method}, effect=float(value))
    return SweepData.read(index_of(), "s")


def test_numbers_are_lines_and_texts_points(data):
    figure = line_figure(data, data.choice("intervention.layer", "intervention.method", NONE, "effect"))
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [list(line.x) for line in lines] == [[0, 1, 2], [0, 2]]
    assert [list(line.y) for line in lines] == [[0, 1, 2], [0, -2]]
    assert list(figure.layout.xaxis.tickvals) == [0, 1, 2]
    points = line_figure(data, data.choice("intervention.method", "intervention.layer", NONE, "effect")).data
    assert {trace.mode for trace in points if trace.name != "unedited"} == {"markers"}


def test_the_unedited_run_is_dotted(data):
    figure = line_figure(data, data.choice("intervention.layer", "intervention.method", NONE, "effect"))
    (line,) = [trace for trace in figure.data if trace.name == "unedited"]
    assert (list(line.x), list(line.y)) == ([0, 1, 2], [0, 0, 0])


def test_a_map_is_centred_on_no_effect_and_has_gaps(data):
    figure = map_figure(data, data.choice("intervention.layer", "intervention.method", NONE, "effect"))
    (cells,) = figure.data
    assert [[None if value != value else value for value in row] for row in cells.z] == [[0, 1, 2], [0, None, -2]]
    assert cells.customdata[1][2] == "s/4"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-2, 2)


def test_a_third_key_becomes_panels(data):
    choice = data.choice("intervention.layer", NONE, "intervention.method", "effect")
    for figure in (line_figure(data, choice), map_figure(data, choice)):
        assert figure.layout.xaxis2 is not None
        assert figure.layout.annotations[0].text == "method = mean"


def test_parallel_axes_are_all_keys_and_the_metric(data):
    (lines,) = parallel_figure(data, data.choice(metric="effect")).data
    assert [dimension.label for dimension in lines.dimensions] == ["layer", "method", "effect"]
    assert list(lines.dimensions[1].values) == [0, 0, 0, 1, 1]


def test_markup_in_values_is_text(data):
    choice = data.choice("intervention.layer", "intervention.method", NONE, "effect")
    for figure in (line_figure(data, choice), map_figure(data, choice), parallel_figure(data, choice)):
        shown = figure.to_dict()
        for trace in shown["data"]:
            trace.pop("legendgroup", None)
        assert "<img" not in str(shown)


def test_hover_texts_say_what_an_interval_is(data):
    choice = data.choice("intervention.layer", NONE, NONE, "effect")
    first, second = data.points(choice)[:2]
    assert "mean of 2 runs, [lowest, highest]" in hover_text(first, choice)
    assert hover_text(second, choice).endswith("s/1")
    assert "effect 1</b><br>" in hover_text(second, choice)  # the run has no interval of it
