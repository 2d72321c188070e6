"""The page of a sweep."""

from __future__ import annotations

import pytest

from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.pages.sweep import figure_of, layout, words_of
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.sweep_data import SweepData
from ioi_lab.dashboard.views import SweepView


@pytest.fixture
def index(leave, index_of):
    for layer in range(3):
        run = leave(f"sweep/now/{layer}", {"intervention.layer": layer}, best_recovery=layer / 4)
    (run.parent / "multirun.yaml").write_text("{}")
    leave("sweep/now/3", {"intervention.layer": 99}, status="failed", error="layer: <b>99</b>")
    return index_of()


def test_sweeps_are_listed(index, leave, index_of):
    page = str(layout(index, SweepView()))
    assert "href='/sweep/sweep/now'" in page
    assert "badge failed" in page


def test_a_sweep_has_its_axes_figure_and_failures(index):
    page = str(layout(index, SweepView("sweep/now")))
    for part in ("intervention.layer", "sweep-figure", "4 runs", "layer: <b>99</b>", "is the largest of many"):
        assert part in page


def test_the_report_of_a_sweep_is_linked(index, runs_folder):
    assert "the report of the sweep" not in str(layout(index, SweepView("sweep/now")))
    (runs_folder / "sweep/now/report.html").write_text("<title>x</title>")
    assert "href='/files/sweep/now/report.html'" in str(layout(index, SweepView("sweep/now")))


def test_each_kind_has_a_figure(index):
    data = SweepData.read(index, "sweep/now")
    for kind in ("line", "map", "parallel"):
        assert figure_of(data, kind, data.choice()).data
    assert "own 95 % intervals" in str(words_of(data, "line", data.choice()))
    assert "this metric has no intervals" in str(words_of(data, "line", data.choice(metric="n_prompts")))


def test_the_runs_folder_itself_may_be_that_of_a_sweep(index, runs_folder):
    own = Index(RunsFolder(runs_folder / "sweep/now"))
    own.refresh()
    (runs_folder / "sweep/now/report.html").write_text("<title>x</title>")
    page = str(layout(own, SweepView()))
    assert "sweep-figure" in page
    assert "href='/files/report.html'" in page


def test_what_cannot_be_drawn_has_words(leave, index_of):
    assert "No sweeps yet" in str(layout(index_of(), SweepView()))
    leave("a/0", status="failed")
    leave("a/1")
    leave("b/0")
    leave("b/1")
    index = index_of()
    assert "There are no such runs" in str(layout(index, SweepView("../secret")))
    assert "Too few runs" in str(layout(index, SweepView("a")))
    assert "All runs have the same config" in str(layout(index, SweepView("b")))
    assert "sweep-figure" not in str(layout(index, SweepView("b", kind="what", x="ever")))
