"""The page of a circuit."""

from __future__ import annotations

from ioi_lab.dashboard.circuits import CircuitRun
from ioi_lab.dashboard.pages.circuit import layout, nearest, slider, words_of
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.views import CircuitView


def read(runs_folder):
    return CircuitRun.read(RunsFolder(runs_folder), "c", {})


def test_the_page_opens_with_the_circuit_that_was_kept(leave_circuit, index_of):
    leave_circuit("c")
    page = str(layout(index_of(), CircuitView("c")))
    assert "This is the circuit that the run has kept." in page
    assert "Its faithfulness is 0.8 [0.7, 1] (95 % interval)." in page
    assert "not measured" in str(layout(index_of(), CircuitView("c", size=7)))


def test_runs_without_a_circuit_have_words(leave, leave_circuit, index_of):
    leave("a")
    index = index_of()
    assert "this run has no curve.csv" in str(layout(index, CircuitView("a")))
    assert "There is no such run" in str(layout(index, CircuitView("none")))
    assert "No circuits yet" in str(layout(index, CircuitView()))
    leave_circuit("c")
    assert "href='/circuit/c'" in str(layout(index_of(), CircuitView()))


def test_the_slider_marks_what_was_measured(leave_circuit, runs_folder):
    leave_circuit("c")
    run = read(runs_folder)
    shown = slider(run, 10)
    assert run.sizes[shown.value] == 10
    assert "10" in shown.marks.values()
    assert nearest(run, 10**6) == run.graph.n_edges
    assert nearest(run, None) == 10


def test_edges_that_connect_nothing_are_counted(leave_circuit, runs_folder):
    leave_circuit("c")
    run = read(runs_folder)
    kept = int(run.circuit(("eap", "absolute"), 5).sum())
    assert f"{5 - kept} of the 5 best connect nothing" in str(words_of(run, ("eap", "absolute"), 5))
