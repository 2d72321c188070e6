"""Finished runs of an earlier sweep are taken over by a sweep of the same name, if they are the same and whole."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from ioi_lab.reports.report import Report
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.resume import (
    earlier_run,
    record_finished_runs,
)
from tests.conftest import run_folders
from tests.runs.resumed import GRID, SHORT, STAMPED, of_other_weights


def test_finished_runs_are_offered_to_the_jobs(tmp_path):
    """Not unfinished ones, and not those of the sweep itself."""
    identities = {
        "old/0": {"config": "a", "code": "this"},
        "old/1": {"config": "b", "code": "other"},
        "old/2": {"config": "c", "code": "this"},
        "new/0": {"config": "d", "code": "this"},
    }
    for name, identity in identities.items():
        run = RunFolder(tmp_path / name)
        run.start("name: x\n", "sweep.py")
        run.write_report(Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict))
        if name != "old/2":
            run.finish({"identity": identity})
    record_finished_runs(tmp_path / "new")
    offered = {name: earlier_run(tmp_path / "new", identity) for name, identity in identities.items()}
    assert offered == {"old/0": tmp_path / "old" / "0", "old/1": tmp_path / "old" / "1", "old/2": None, "new/0": None}
    assert earlier_run(tmp_path / "no such sweep", identities["old/0"]) is None


@pytest.mark.long
def test_a_larger_grid_of_the_same_name_takes_over_what_is_done(sweep, tmp_path):
    assert sweep(*GRID, "figures=true", "name=heads").code == 0
    outcome = sweep("-m", "tracker=none", "task.n=4", "intervention.head=all", "intervention.layer=3,2", "name=heads")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count(" is taken from ") == 1
    assert "2 runs (2 done, 1 of them taken from earlier runs)" in outcome.out
    one, other = (run for run in run_folders(tmp_path) if "layer: 2" in (run / "config.yaml").read_text())
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()} - STAMPED
    assert files == {path.relative_to(other) for path in other.rglob("*") if path.is_file()} - STAMPED
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in files)
    origins = [json.loads((run / "provenance.json").read_text()).get("taken_from") for run in (one, other)]
    assert sorted(map(bool, origins)) == [False, True]


@pytest.mark.long
def test_what_is_another_run_is_not_taken_over(sweep, monkeypatch):
    assert sweep(*GRID, "name=heads").code == 0
    wider = (*SHORT, "intervention.layer=2,3")
    assert "taken from" not in sweep(*wider, "name=other").out
    assert "taken from" not in sweep(*wider, "name=heads", "resume=false").out
    assert "taken from" not in sweep(*wider, "name=heads", "task.seed=1").out
    monkeypatch.setattr("ioi_lab.jobs.job.checksums_of", of_other_weights)
    assert "taken from" not in sweep(*wider, "name=heads", "intervention.head=all").out


@pytest.mark.long
def test_alignments_are_taken_over_too(train_align):
    """They have no prompts.csv."""
    grid = ("-m", "tracker=none", "corpus.n=120", "alignment.source_layers=[1]", "alignment.target_layers=[1]")
    assert train_align(*grid, "seed=0,1").code == 0
    outcome = train_align(*grid, "seed=1,2")
    assert outcome.code == 0, outcome.err
    assert "2 runs (2 done, 1 of them taken from earlier runs)" in outcome.out


@pytest.mark.long
def test_what_is_not_whole_any_more_is_measured(sweep, tmp_path):
    assert sweep(*GRID, "figures=true", "name=heads").code == 0
    (run_folders(tmp_path)[1] / "plots" / "recovery_by_head.png").unlink()
    outcome = sweep(*SHORT, "figures=true", "intervention.layer=1,2", "name=heads")
    assert outcome.code == 0, outcome.err
    assert "2 runs (2 done, 1 of them taken from earlier runs)" in outcome.out


@pytest.mark.parametrize("lost", ["prompts.csv", "plots/figure.png", "status.json", "metrics.json", "provenance.json"])
def test_a_run_without_one_of_its_files_is_not_taken_over(tmp_path, lost):
    identity = {"config": "a"}
    other, run = (RunFolder(tmp_path / name) for name in ("other", "run"))
    table = pd.DataFrame({"layer": [0]})
    other.start("name: x\n", "sweep.py")
    other.write_report(Report(table, {"x": 1.0}, lambda: {"figure": Figure()}, prompts=table))
    other.finish({"identity": identity})
    (other.path / lost).rename(tmp_path / "lost")
    assert not run.take_over(other.path, identity)
    assert not run.path.exists()
    (tmp_path / "lost").rename(other.path / lost)
    assert run.take_over(other.path, identity)
    assert (run.path / "plots" / "figure.png").is_file()


def test_a_run_that_begins_again_while_it_is_copied_is_not_taken_over(tmp_path, monkeypatch):
    identity = {"config": "a"}
    other, run = (RunFolder(tmp_path / name) for name in ("other", "run"))
    report = Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict, [])
    other.start("name: x\n", "sweep.py")
    other.write_report(report)
    other.finish({"identity": identity})
    plain = Path.read_bytes

    def starting_again(path):
        content = plain(path)
        if path.parent == other.path and path.name == "results.csv":
            other.start("name: x\n", "sweep.py")
        return content

    monkeypatch.setattr(Path, "read_bytes", starting_again)
    assert not run.take_over(other.path, identity)
    assert not run.path.exists()
    monkeypatch.setattr(Path, "read_bytes", plain)
    other.write_report(report)
    other.finish({"identity": identity})
    assert not run.take_over(other.path, {"config": "b"})
    assert run.take_over(other.path, identity)
    assert run.metrics() == {"x": 1.0}


def test_the_batch_launcher_takes_over_too(sweep):
    assert sweep(*GRID, "name=heads").code == 0
    outcome = sweep(*SHORT, "intervention.layer=0,1,2,3", "hydra/launcher=batch", "name=heads")
    assert "measured 1 jobs" in outcome.out
    assert "4 runs (4 done, 3 of them taken from earlier runs)" in outcome.out
