"""The figures of a circuit, as data."""

from __future__ import annotations

import pytest

from ioi_lab.dashboard.circuit_figures import curve_figure, graph_figure, node_text, place_of
from ioi_lab.dashboard.circuits import CircuitRun
from ioi_lab.dashboard.places import RunsFolder

EAP = ("eap", "absolute")


@pytest.fixture
def run(leave_circuit, runs_folder):
    leave_circuit("c")
    return CircuitRun.read(RunsFolder(runs_folder), "c", {})


def test_there_is_a_curve_per_method_one_of_random_circuits_and_a_line_at_the_size(run):
    figure = curve_figure(run, 10, "title")
    names = [trace.name for trace in figure.data if trace.name]
    assert names == ["random, uniform", "eap", "exact"]
    eap = next(trace for trace in figure.data if trace.name == "eap")
    assert list(eap.x) == [1, 5, 10, run.graph.n_edges]
    assert list(eap.y) == [0.0, 0.4, 0.8, 1.0]
    assert eap.customdata[1] == "0.4 [0.3, 1]"
    assert eap.customdata[3] == "1"  # its interval is unknown
    assert any(shape.x0 == shape.x1 == 10 for shape in figure.layout.shapes)


def test_edges_are_as_wide_as_their_scores(run):
    drawn = run.drawn(EAP, 10)
    figure = graph_figure(drawn, "title")
    lines = {trace.text: trace.line for trace in figure.data if trace.mode == "lines"}
    assert len(lines) == len(drawn.edges)
    strongest = max(drawn.edges, key=lambda edge: abs(edge.score))
    assert (
        max(line.width for line in lines.values())
        == lines[next(t for t in lines if strongest.name in t.replace("&gt;", ">").replace("&lt;", "<"))].width
    )
    assert "60 strongest" not in figure.layout.title.text


def test_layers_go_from_left_to_right_and_mlps_stand_below(run):
    drawn = run.drawn(EAP, run.graph.n_edges)
    xs = [place_of(drawn, node)[0] for node in ("input", "a0.h0", "m0", "a1.h0", "m1", "logits")]
    assert xs == sorted(xs)
    assert place_of(drawn, "m0")[1] < min(drawn.places.rows.values())
    assert node_text(drawn, "a0.h0").startswith("<b>0.0</b>: reads ")


def test_an_empty_circuit_is_drawn(run):
    drawn = run.drawn(EAP, 1)
    assert len(graph_figure(drawn, "title").data) <= 3
