"""Sweeps that are started again: what is done is skipped, and nothing is lost to a kill."""

from __future__ import annotations

import json
import threading
import time

import pytest
from omegaconf import OmegaConf

from benchmarks.kill import kill_and_resume
from ioi_lab.interventions.patch import Patch
from ioi_lab.runs import RunFolder, identity
from tests.conftest import run_folders

GRID = ("-m", "tracker=none", "task.n=4", "intervention.layer=0,1,2")


def moments(folder):
    return {run.name: (run / "status.json").stat().st_mtime_ns for run in run_folders(folder)}


def test_what_is_done_is_not_done_again(sweep, tmp_path):
    assert sweep(*GRID).code == 0
    before = moments(tmp_path)
    outcome = sweep(*GRID)
    assert outcome.code == 0, outcome.err
    assert "where 3 jobs are done (resume=false starts over)" in outcome.out
    assert outcome.out.count("is done already") == 3
    assert moments(tmp_path) == before


def test_what_is_not_done_is_finished(sweep, tmp_path):
    assert sweep(*GRID).code == 0
    before = moments(tmp_path)
    folder = run_folders(tmp_path)[0].parent
    status = json.loads((folder / "1" / "status.json").read_text())
    (folder / "1" / "status.json").write_text(json.dumps(status | {"status": "running"}))
    (folder / "2" / "metrics.json").write_text('{"half": ')
    outcome = sweep(*GRID)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("is done already") == 1
    after = moments(tmp_path)
    assert after["0"] == before["0"]
    assert all(json.loads((folder / job / "status.json").read_text())["status"] == "done" for job in "012")
    assert json.loads((folder / "2" / "metrics.json").read_text())["n_prompts"] == 4


def test_starting_over_and_another_grid_land_elsewhere(sweep, tmp_path):
    assert sweep(*GRID).code == 0
    assert sweep(*GRID, "resume=false").code == 0
    assert len({run.parent for run in run_folders(tmp_path)}) == 2
    assert sweep(*GRID, "intervention.direction=noise").code == 0
    assert len({run.parent for run in run_folders(tmp_path)}) == 3


def test_another_launcher_goes_on_in_the_same_folder(sweep):
    assert sweep(*GRID).code == 0
    assert "where 3 jobs are done" in sweep(*GRID, "hydra/launcher=batch", "hydra.launcher.wave=2").out


def test_other_code_is_told_and_run_again(sweep, tmp_path, monkeypatch):
    assert sweep(*GRID).code == 0
    monkeypatch.setattr("ioi_lab.runs.folder._sha256_of_code", lambda: "other")
    outcome = sweep(*GRID)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("was done with another code: it is run again") == 3


def test_other_weights_are_told_and_run_again(sweep, tmp_path, monkeypatch):
    assert sweep(*GRID).code == 0
    monkeypatch.setattr("ioi_lab.models.weights_of", lambda config: "other")
    assert "was done with another weights: it is run again" in sweep(*GRID).out


def test_a_failed_job_is_tried_again_and_the_others_are_not(sweep, tmp_path, monkeypatch):
    plain = Patch.report

    def failing(self, measurement):
        if self.layer == 1:
            raise RuntimeError("a bug")
        return plain(self, measurement)

    monkeypatch.setattr(Patch, "report", failing)
    outcome = sweep(*GRID)
    assert outcome.code == 1
    assert "error: job 1 (intervention.layer=1" in outcome.err
    assert "RuntimeError: a bug" in outcome.err
    folder = run_folders(tmp_path)[0].parent
    assert "raise RuntimeError" in (folder / "1" / "traceback.txt").read_text()
    assert "3 runs (2 done, 1 failed)" in outcome.out
    monkeypatch.setattr(Patch, "report", plain)
    outcome = sweep(*GRID)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("is done already") == 2
    assert "3 runs (3 done)" in outcome.out
    assert not (folder / "1" / "traceback.txt").exists()


def test_ctrl_c_says_how_to_go_on(sweep, tmp_path, monkeypatch):
    plain = Patch.report

    def interrupted(self, measurement):
        if self.layer == 1:
            raise KeyboardInterrupt
        return plain(self, measurement)

    monkeypatch.setattr(Patch, "report", interrupted)
    outcome = sweep(*GRID)
    assert outcome.code == 130
    assert "interrupted; the same command goes on in runs/patch/" in outcome.err
    monkeypatch.setattr(Patch, "report", plain)
    assert sweep(*GRID).out.count("is done already") == 1


def test_a_single_run_never_skips(sweep, tmp_path):
    for _ in range(2):
        assert sweep("tracker=none", "task.n=4", "hydra.run.dir=here").code == 0
    assert "is done already" not in sweep("tracker=none", "task.n=4", "hydra.run.dir=here").out


def test_the_identity_is_that_of_what_results_depend_on():
    config = {"name": "a", "seed": 0, "resume": True, "tracker": {"name": "none"}, "task": {"n": 1}}
    same = identity(config | {"name": "b", "resume": False, "tracker": {"name": "wandb"}})
    assert same == identity(config)
    assert identity(config | {"task": {"n": 2}})["config"] != same["config"]
    assert OmegaConf.create(same)


def test_two_processes_do_not_write_into_one_folder_at_once(tmp_path):
    order = []

    def work(name):
        with RunFolder(tmp_path).locked():
            order.append(f"{name} in")
            time.sleep(0.3)
            order.append(f"{name} out")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


@pytest.mark.parametrize("seed", [0])
def test_a_killed_sweep_ends_as_if_nothing_had_happened(tmp_path, seed):
    overrides = ["task.n=4", "intervention.layer=0,1,2,3", "intervention.head=0,1"]
    found = kill_and_resume(tmp_path, overrides, kills=3, seed=seed, longest=9.0)
    assert (found.jobs, found.recomputed, found.different, found.left_running) == (8, 0, [], 0)
