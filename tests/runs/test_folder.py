from __future__ import annotations

import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from ioi_lab.errors import LabError
from ioi_lab.reports.report import Report
from ioi_lab.runs import folder as runs
from ioi_lab.runs.folder import RunFolder, environment, is_done
from ioi_lab.runs.past_run import PastRun


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
    RunFolder(runs.Path("/dev/null/x")).fail(ValueError("the real one"))


def test_environment():
    facts = environment()
    assert facts["packages"]["transformer-lens"]
    assert facts["peak_memory_mb"] > 10


def test_outside_a_checkout_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "runs.py"))
    facts = runs._environment.__wrapped__()
    assert facts["git_commit"] is None
    assert facts["git_dirty"] is None


def test_a_past_run_is_read_back(tmp_path, report):
    folder = RunFolder(tmp_path)
    folder.start("name: x\nintervention:\n  name: patch\n", "sweep.py")
    folder.write_report(report)
    with pytest.raises(LabError, match=r"key: the run in .* is not finished"):
        PastRun.read(str(tmp_path), "key")
    folder.finish({"model": {"name": "toy", "weights_sha256": "abc"}})
    run = PastRun.read(str(tmp_path), "key")
    assert run.intervention == {"name": "patch"}
    assert run.table("key")["layer"].tolist() == [0]
    run.check_weights("abc", "toy", "key")
    with pytest.raises(LabError, match=r"key: the run in .* is of another model, toy; expected one of other"):
        run.check_weights("abd", "other", "key")
    (tmp_path / "results.csv").write_text("")
    with pytest.raises(LabError, match=r"key: cannot read results\.csv in"):
        run.table("key")
    for damaged in ("a: [", "- a", "name: x", ""):
        (tmp_path / "config.yaml").write_text(damaged)
        with pytest.raises(LabError, match="key: cannot read the run in"):
            PastRun.read(str(tmp_path), "key")
    with pytest.raises(LabError, match="key: '/nowhere' is no run folder: it has no status"):
        PastRun.read("/nowhere", "key")
