"""The files of one run, and what their order promises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from ioi_lab.reports.report import Report
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.reading import is_done, read_status


def status(folder):
    return json.loads((folder.path / "status.json").read_text())


@pytest.fixture
def report():
    files = {"page.html": b"<p>", "more.csv": b"a", "tensors.safetensors": b"t"}
    return Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, lambda: {"figure": Figure()}, [], files)


def test_status_is_running_first_and_done_last(tmp_path, report):
    folder = RunFolder(tmp_path / "a" / "b")
    folder.start("name: x\n", "sweep.py")
    assert status(folder)["status"] == "running"
    folder.write_report(report)
    assert folder.media() == {
        "figure": folder.path / "plots" / "figure.png",
        "page": folder.path / "page.html",
        "tensors": folder.path / "tensors.safetensors",
    }
    assert (folder.path / "more.csv").read_bytes() == b"a"
    assert status(folder)["status"] == "running"
    folder.finish({"seed": 0})
    assert status(folder)["status"] == "done"
    assert json.loads((folder.path / "provenance.json").read_text())["seconds"] >= 0


def test_starting_again_takes_back_all_that_an_old_run_left(tmp_path, report):
    old = RunFolder(tmp_path)
    old.start("name: old\n", "sweep.py")
    old.write_report(report)
    old.finish({})
    assert is_done(tmp_path)
    (tmp_path / "mine.csv").write_text("whoever's this is")
    RunFolder(tmp_path).start("name: new\n", "sweep.py")
    assert not is_done(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "mine.csv", "status.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "running"}'])
def test_a_status_that_cannot_be_read_is_not_done(tmp_path, content):
    (tmp_path / "status.json").write_text(content)
    assert not is_done(tmp_path)


def test_a_failure_is_one_line(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    folder.fail(ValueError("first\n  second"))
    assert status(folder)["error"] == "first second"
    assert status(folder)["type"] == "ValueError"


def test_a_folder_that_cannot_be_written_hides_no_error():
    RunFolder(Path("/dev/null/x")).fail(ValueError("the real one"))


def test_a_finished_run_that_was_only_read_stays_done(tmp_path, report):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    folder.write_report(report)
    folder.finish({})
    RunFolder(tmp_path).fail(ValueError("a mistake in the next command"))
    assert is_done(tmp_path)
    folder.fail(KeyboardInterrupt())
    assert (status(folder)["status"], status(folder)["error"]) == ("failed", "interrupted")


def test_figures_are_not_drawn_if_they_are_not_wanted(tmp_path):
    def draw():
        raise AssertionError

    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    folder.write_report(Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, draw), figures=())
    folder.finish({})
    assert not (tmp_path / "plots").exists()
    assert folder.metrics() == {"x": 1.0}
    assert folder.tables()["results"]["layer"].tolist() == [0]


def test_the_headline_is_a_metric_that_the_run_has(tmp_path, report):
    for headline, expected in (("x", "x"), ("y", None)):
        folder = RunFolder(tmp_path / headline)
        folder.start("name: x\n", "sweep.py")
        folder.write_report(replace(report, headline=headline), figures=())
        folder.finish({})
        assert read_status(folder.path).get("headline") == expected


def test_where_a_run_was_logged_is_recorded_until_it_starts_again(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    assert not folder.is_tracked
    folder.record_tracked({"run": "somewhere"})
    assert folder.is_tracked
    folder.start("name: x\n", "sweep.py")
    assert not folder.is_tracked
