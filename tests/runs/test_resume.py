"""Sweeps that are started again: what is done is skipped, and nothing is lost to a kill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from benchmarks.kill import SMALL_GRID, kill_and_resume
from ioi_lab.interventions.patch import Patch
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.reading import is_done
from tests.conftest import run_folders
from tests.runs.resumed import GRID, SHORT, SWEEP, moments, of_other_weights

DYING = """
import os
from ioi_lab.tasks.ioi import IOITask
class Dying(IOITask):
    def prompt_pairs(self, tokens):
        return os._exit(9) if self.n == 5 else super().prompt_pairs(tokens)
"""
PAIR = 'clean,corrupt,answer,distractor\n"When John and Mary went to the store, John gave a drink to","'


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


@pytest.mark.long
def test_starting_over_and_another_grid_land_elsewhere(sweep, tmp_path):
    assert sweep(*GRID).code == 0
    assert sweep(*GRID, "resume=false").code == 0
    assert len({run.parent for run in run_folders(tmp_path)}) == 2
    assert sweep(*GRID, "intervention.direction=noise").code == 0
    assert len({run.parent for run in run_folders(tmp_path)}) == 3


def test_another_launcher_goes_on_in_the_same_folder(sweep):
    assert sweep(*GRID).code == 0
    assert "where 3 jobs are done" in sweep(*GRID, "hydra/launcher=batch", "hydra.launcher.wave=2").out


def test_other_code_is_reported_and_run_again(sweep, tmp_path, monkeypatch):
    assert sweep(*GRID).code == 0
    monkeypatch.setattr("ioi_lab.runs.identity.sha256_of_code", lambda modules: "other")
    outcome = sweep(*GRID)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("it was done with other code, so it is run again") == 3


def test_other_weights_are_reported_and_run_again(sweep, tmp_path, monkeypatch):
    assert sweep(*GRID).code == 0
    monkeypatch.setattr("ioi_lab.jobs.job.checksums_of", of_other_weights)
    assert "it was done with other weights, so it is run again" in sweep(*GRID).out


def test_a_failed_job_is_tried_again_and_the_others_are_not(sweep, tmp_path, monkeypatch):
    plain = Patch.report

    def failing(self, result, context):
        if self.layer == 1:
            raise RuntimeError("a bug")
        return plain(self, result, context)

    monkeypatch.setattr(Patch, "report", failing)
    outcome = sweep(*GRID)
    assert outcome.code == 1
    assert "error: job 1 (figures=False,intervention.layer=1" in outcome.err
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

    def interrupted(self, result, context):
        if self.layer == 1:
            raise KeyboardInterrupt
        return plain(self, result, context)

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


@pytest.mark.long
def test_a_sweep_goes_on_over_all_that_was_done_to_its_folder(sweep, tmp_path):
    """A file and a link in the place of jobs, deleted jobs, and files that are cut or lead elsewhere."""
    grid = (*SHORT, "intervention.layer=0,1,2,3", "intervention.head=0,1", "hydra/launcher=batch")
    assert sweep(*grid).code == 0
    folder = run_folders(tmp_path)[0].parent
    outside = tmp_path / "mine.txt"
    outside.write_text("mine")
    for job in "0123":
        shutil.rmtree(folder / job)
    (folder / "0").write_text("")
    (folder / "1").symlink_to("nowhere")
    (folder / "2").symlink_to(tmp_path / "elsewhere")
    (folder / "4" / "results.csv").write_text("layer\n")
    status = json.loads((folder / "5" / "status.json").read_text())
    (folder / "5" / "status.json").write_text(json.dumps(status | {"files": {"../../../../mine.txt": {}}}))
    (folder / "6" / ".hydra" / "overrides.yaml").write_text("a: [")
    outcome = sweep(*grid)
    assert outcome.code == 0, outcome.err
    assert "8 runs (8 done)" in outcome.out
    assert "measured 6 jobs" in outcome.out
    assert outside.read_text() == "mine"
    assert "8 of 8 jobs are done already" in sweep(*grid).out


@pytest.mark.parametrize("launcher", ["basic", "batch"])
def test_a_sweep_whose_config_is_wrong_leaves_no_folder(sweep, tmp_path, launcher):
    outcome = sweep("-m", "tracker=none", "intervention.nothing=0,1", f"hydra/launcher={launcher}")
    assert outcome.code == 1
    assert not list(tmp_path.glob("runs/*/[!.]*"))


@pytest.mark.processes
@pytest.mark.parametrize("seed", [0])
def test_a_killed_sweep_ends_as_if_nothing_had_happened(sweep, tmp_path, seed):
    assert sweep("-m", "tracker=none", "name=whole", *SMALL_GRID).code == 0
    killed = kill_and_resume(tmp_path, tmp_path / "runs" / "whole", SMALL_GRID, kills=2, seed=seed, longest=0.8)
    assert any(0 < done < 8 for done in killed.done_at_kills)
    assert (killed.jobs, killed.lost, killed.recomputed, killed.different, killed.orphans) == (8, 0, 0, [], 0)


@pytest.mark.processes
def test_two_sweeps_at_once_in_one_folder(tmp_path):
    command = [sys.executable, SWEEP, *GRID]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("runs/patch/*/typed.yaml")):
        time.sleep(0.01)
    second = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    outputs = [sweep.communicate(timeout=120) for sweep in (first, second)]
    assert [sweep.returncode for sweep in (first, second)] == [0, 0], outputs
    assert "going on in" in outputs[1][0]
    assert all("3 runs (3 done)" in out for out, _ in outputs)
    assert sum(out.count("heads by recovery") for out, _ in outputs) == 3  # each is done by one of them
    assert len(run_folders(tmp_path)) == 3


def test_the_batch_launcher_reports_other_code_and_batches_what_it_runs_again(sweep, monkeypatch):
    assert sweep(*GRID, "hydra/launcher=batch").code == 0
    monkeypatch.setattr("ioi_lab.runs.identity.sha256_of_code", lambda modules: "other")
    outcome = sweep(*GRID, "hydra/launcher=batch")
    assert outcome.code == 0, outcome.err
    assert "where 3 jobs are done, 3 of them with other code, which are run again" in outcome.out
    assert "3 of the jobs that are done are run again: it was done with other code" in outcome.out
    assert "measured 3 jobs" in outcome.out


def test_resume_false_from_a_config_starts_over_too(sweep, tmp_path):
    assert sweep(*GRID).code == 0
    assert "going on" not in sweep(*GRID, "++resume=false").out
    assert len({run.parent for run in run_folders(tmp_path)}) == 2


@pytest.fixture
def pairs(tmp_path):
    """A file of prompts and a sweep over them."""
    path = tmp_path / "mine.csv"
    path.write_text(PAIR + 'When John and Mary went to the store, Mary gave a drink to", Mary, John\n')
    return path, ("-m", "tracker=none", "figures=false", "task=pairs", f"task.path={path}", "intervention.layer=0,1")


def test_what_was_done_with_another_file_is_run_again(sweep, pairs):
    path, grid = pairs
    assert sweep(*grid).code == 0
    assert sweep(*grid).out.count("is done already") == 2
    path.write_text(PAIR + 'When John and Mary went to the park, Mary gave a drink to", Mary, John\n')
    outcome = sweep(*grid)
    assert outcome.out.count("it was done with other files, so it is run again") == 2
    assert "went to the park" not in PAIR


def test_a_run_that_is_done_stays_done_whatever_is_in_the_way_of_looking(sweep, tmp_path, pairs):
    path, grid = pairs
    assert sweep(*grid).code == 0
    before = moments(tmp_path)
    path.unlink()
    outcome = sweep(*grid)
    assert outcome.code == 1
    assert "task.path" in outcome.err
    assert moments(tmp_path) == before
    assert all(is_done(run) for run in run_folders(tmp_path))


def test_damaged_results_are_reported_as_such(sweep, tmp_path):
    assert sweep(*GRID).code == 0
    for run, name in zip(run_folders(tmp_path), ("metrics.json", "provenance.json"), strict=False):
        (run / name).write_text('{"half": ')
    outcome = sweep(*GRID)
    assert outcome.out.count("its files are damaged (") == 2
    assert "3 runs (3 done)" in outcome.out


def test_a_sweep_that_stops_is_summed_up_and_says_how_to_go_on(sweep, tmp_path):
    assert sweep(*GRID).code == 0
    folder = run_folders(tmp_path)[0].parent
    shutil.rmtree(folder / "1")
    (folder / "1").mkdir()
    (folder / "1" / ".hydra").write_text("in the way")
    outcome = sweep(*GRID)
    assert outcome.code == 1
    assert "2 runs (2 done)" in outcome.out
    stopped, error = outcome.err.splitlines()[-2:]
    assert stopped == f"stopped; the same command goes on in {folder.relative_to(tmp_path)}"
    assert error.startswith("error: cannot write or read ")
    assert f"{folder.relative_to(tmp_path)}/1/.hydra" in error


@pytest.mark.processes
def test_a_worker_that_dies_is_reported_and_the_sweep_can_go_on(tmp_path):
    """As for a lack of memory; joblib then gives up all of its workers."""
    (tmp_path / "dying.py").write_text(DYING)
    command = [sys.executable, SWEEP, "-m", "tracker=none", "task._target_=dying.Dying", "task.n=4,5,6"]
    sweep = subprocess.run(
        [*command, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "IOI_LAB_PLUGINS": "dying"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert sweep.returncode == 1
    folder = run_folders(tmp_path)[0].parent
    assert f"stopped; the same command goes on in {folder.relative_to(tmp_path)}" in sweep.stderr
    last = sweep.stderr.splitlines()[-1]
    assert last.startswith("error: a worker process died (killed, or out of memory; fewer at a time need less): ")
    assert f"did not finish ({folder.relative_to(tmp_path)}/" in last
    assert "Traceback" not in sweep.stderr
    assert "stopped" in (folder / "sweep.csv").read_text()
