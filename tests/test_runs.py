from __future__ import annotations

import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from ioi_lab import runs
from ioi_lab.interventions.base import Report
from ioi_lab.runs import RunFolder, environment, is_done


def status(folder):
    return json.loads((folder.path / "status.json").read_text())


@pytest.fixture
def report():
    return Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, {"figure": Figure()}, [])


def test_status_is_running_first_and_done_last(tmp_path, report):
    folder = RunFolder(tmp_path / "a" / "b")
    folder.start("name: x\n")
    assert status(folder)["status"] == "running"
    assert folder.write_report(report) == {"figure": folder.path / "plots" / "figure.png"}
    assert status(folder)["status"] == "running"
    folder.finish({"seed": 0})
    assert status(folder)["status"] == "done"
    assert json.loads((folder.path / "provenance.json").read_text())["seconds"] >= 0


def test_starting_again_takes_back_all_that_an_old_run_left(tmp_path, report):
    old = RunFolder(tmp_path)
    old.start("name: old\n")
    old.write_report(report)
    old.finish({})
    assert is_done(tmp_path)
    RunFolder(tmp_path).start("name: new\n")
    assert not is_done(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "status.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "running"}'])
def test_a_status_that_cannot_be_read_is_not_done(tmp_path, content):
    (tmp_path / "status.json").write_text(content)
    assert not is_done(tmp_path)


def test_a_failure_is_one_line(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n")
    folder.fail(ValueError("first\n  second"))
    assert status(folder)["error"] == "first second"
    assert status(folder)["type"] == "ValueError"


def test_a_folder_that_cannot_be_written_hides_no_error():
    RunFolder(runs.Path("/dev/null/x")).fail(ValueError("the real one"))


def test_environment():
    facts = environment()
    assert facts["packages"]["transformer-lens"]
    assert facts["peak_memory_mb"] > 10


def test_outside_a_checkout_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "runs.py"))
    assert environment()["git_commit"] is None
    assert environment()["git_dirty"] is None
