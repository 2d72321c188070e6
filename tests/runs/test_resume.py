"""Sweeps that are started again: what is done is skipped, and nothing is lost to a kill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from benchmarks.kill import SMALL_GRID, kill_and_resume
from ioi_lab.cli.multirun import Multirun
from ioi_lab.interventions.patch import Patch
from ioi_lab.models.loading import checksums_of
from ioi_lab.reports.report import Report
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.reading import is_done
from ioi_lab.runs.resume import (
    choosing,
    earlier_run,
    earlier_sweep,
    is_placed,
    land_in,
    put_aside_what_is_no_folder,
    record_finished_runs,
    record_typed,
)
from tests.conftest import run_folders

SWEEP = str(Path(__file__).resolve().parents[2] / "sweep.py")
DYING = """
import os
from ioi_lab.tasks.ioi import IOITask
class Dying(IOITask):
    def prompt_pairs(self, tokens):
        return os._exit(9) if self.n == 5 else super().prompt_pairs(tokens)
"""
PAIR = 'clean,corrupt,answer,distractor\n"When John and Mary went to the store, John gave a drink to","'
STAMPED = {Path(name) for name in ("status.json", "provenance.json", "log.txt", ".lock", "config.yaml")} | {
    Path(".hydra") / name for name in ("config.yaml", "hydra.yaml", "overrides.yaml")
}
"""Files that say where and when a run was."""

SHORT = ("-m", "tracker=none", "task.n=4", "figures=false")
GRID = (*SHORT, "intervention.layer=0,1,2")


def of_other_weights(config):
    return checksums_of(config)._replace(weights="other")


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


def command(folder: Path, *typed: str, sweeper: str = "basic"):
    """The parts of a multirun's config that resuming reads."""
    return OmegaConf.create(
        {
            "hydra": {
                "sweep": {"dir": str(folder)},
                "overrides": {
                    "task": [line for line in typed if not line.startswith("hydra")],
                    "hydra": [line for line in typed if line.startswith("hydra")],
                },
                "job": {"config_name": "sweep"},
                "runtime": {"config_sources": [{"path": "conf"}]},
                "sweeper": {"name": sweeper, "folder": "${job.folder}"},
            }
        }
    )


@pytest.mark.parametrize(
    ("typed", "goes_on"),
    [
        (["intervention.layer=0,1", "seed=1"], True),
        (["intervention.layer=0,1", "seed=1", "resume=true"], True),
        (["intervention.layer=0,1", "seed=1", "hydra/launcher=batch", "hydra.launcher.wave=2"], True),
        (["seed=1", "intervention.layer=0,1"], False),
        (["intervention.layer=0,1", "seed=2"], False),
        (["intervention.layer=0,1", "seed=1", "hydra.job.chdir=true"], False),
    ],
)
def test_the_same_command_finds_its_sweep(tmp_path, typed, goes_on):
    first, later = tmp_path / "patch" / "monday", tmp_path / "patch" / "tuesday"
    record_typed(first, command(first, "intervention.layer=0,1", "seed=1"))
    (tmp_path / "patch" / "damaged").mkdir()
    (tmp_path / "patch" / "damaged" / "typed.yaml").write_text("a: [")
    assert earlier_sweep(command(later, *typed)) == (first if goes_on else None)
    assert earlier_sweep(command(later, *typed, sweeper="optuna")) is None
    assert earlier_sweep(command(tmp_path / "ablate" / "tuesday", *typed)) is None


def test_of_several_sweeps_the_latest_goes_on(tmp_path):
    for hours, name in enumerate(("second", "first")):
        record_typed(tmp_path / name, command(tmp_path / name, "seed=1"))
        os.utime(tmp_path / name / "typed.yaml", (3600 * hours, 3600 * hours))
    assert earlier_sweep(command(tmp_path / "now", "seed=1")) == tmp_path / "first"


def test_a_folder_that_was_typed_is_where_the_sweep_lands(tmp_path):
    config = command(tmp_path / "a", "seed=1")
    assert not is_placed(config)
    land_in(tmp_path / "b", config)
    assert config.hydra.sweep.dir == str(tmp_path / "b")
    assert config.hydra.overrides.hydra == [f"hydra.sweep.dir='{tmp_path / 'b'}'"]
    assert is_placed(config)


def test_two_equal_sweeps_at_the_same_moment_choose_one_folder(tmp_path):
    chosen, both = [], threading.Barrier(2)

    def choose(name):
        config = command(tmp_path / "patch" / name, "seed=0,1")
        both.wait()
        with choosing(config):
            folder = earlier_sweep(config) or Path(config.hydra.sweep.dir)
            time.sleep(0.1)
            record_typed(folder, config)
        chosen.append(folder)

    threads = [threading.Thread(target=choose, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(chosen)) == 1


def test_a_folder_that_cannot_be_written_is_not_locked():
    with choosing(command(Path("/dev/null/patch/now"))):
        pass


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r$"), max_size=20))
@example("it's")
@example('say "hi"')
@example("back\\\\slash\\")
@example("\\'")
def test_any_folder_can_be_landed_in(name):
    config = command(Path("a"))
    land_in(Path("runs") / name, config)
    override = OverridesParser.create().parse_override(config.hydra.overrides.hydra[0])
    assert override.value() == config.hydra.sweep.dir == str(Path("runs") / name)


def test_a_name_with_quotes_and_blanks_is_gone_on_with(sweep, tmp_path):
    name = """name='it\\'s a "name", (1) ü·漢'"""
    for told in ("", "where 1 job is done"):
        outcome = sweep(*SHORT, "intervention.layer=0", "hydra/launcher=batch", name)
        assert outcome.code == 0, outcome.err
        assert told in outcome.out
    (run,) = run_folders(tmp_path)
    assert run.parents[1].name == """it's a "name", (1) ü·漢"""


def test_what_is_in_the_place_of_a_job_is_put_aside(tmp_path):
    (tmp_path / "0").write_text("mine")
    (tmp_path / "1").symlink_to("nowhere")
    (tmp_path / "2").mkdir()
    (tmp_path / "sweep.csv").touch()
    aside = put_aside_what_is_no_folder(tmp_path)
    assert [path.name.partition(".unusable-")[0] for path in aside] == [".0", ".1"]
    assert aside[0].read_text() == "mine"
    assert aside[1].is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir() if path not in aside) == ["2", "sweep.csv"]
    assert put_aside_what_is_no_folder(tmp_path) == []
    assert put_aside_what_is_no_folder(tmp_path / "nowhere") == []


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


def test_the_jobs_of_a_sweep_land_together_whatever_is_swept(sweep, tmp_path):
    grid = (*SHORT, "intervention=patch,ablate", "intervention.layer=0")
    assert "2 runs (2 done)" in sweep(*grid).out
    assert len({run.parent for run in run_folders(tmp_path)}) == 1
    assert sweep(*grid).out.count("is done already") == 2


def test_jobs_may_lie_deeper(sweep, tmp_path):
    grid = (*SHORT, "hydra.sweep.subdir=deep/${hydra.job.num}")
    assert sweep(*grid, "intervention.layer=0,9").code == 1
    assert Multirun.failed == 1
    outcome = sweep(*grid, "intervention.layer=0,9")
    assert "where 1 job is done" in outcome.out
    assert "2 runs (1 done, 1 failed)" in outcome.out
    assert "1 of them taken from earlier runs" in sweep(*grid, "intervention.layer=1,0").out


def test_the_batch_launcher_takes_over_too(sweep):
    assert sweep(*GRID, "name=heads").code == 0
    outcome = sweep(*SHORT, "intervention.layer=0,1,2,3", "hydra/launcher=batch", "name=heads")
    assert "measured 1 jobs" in outcome.out
    assert "4 runs (4 done, 3 of them taken from earlier runs)" in outcome.out


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
