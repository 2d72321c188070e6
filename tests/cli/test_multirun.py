"""What a multirun counts: its jobs beforehand, and those that are not done at the end."""

from __future__ import annotations

import json
import pickle

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from ioi_lab.cli import multirun
from ioi_lab.cli.multirun import Multirun, _finished_jobs, _has_failed, _numbers_of_values
from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.runs.code import library_versions, sha256_of_code
from ioi_lab.runs.progress import Progress


@pytest.mark.parametrize(
    ("typed", "jobs"),
    [
        (["intervention.layer=0,1,2", "intervention.head=0,1", "task.n=4"], 6),
        (["intervention.layer=range(0,4)"], 4),
        (["seed=1"], 1),
        (["seed=0,1", "intervention.layer=range(3,3)"], 0),
        (["hparams_search=steering"], 24),
    ],
)
def test_how_many_jobs_there_will_be(sweep, monkeypatch, typed, jobs):
    totals = []

    class Counting(Progress):
        def __init__(self, folder, total):
            totals.append(total)
            raise KeyboardInterrupt

    monkeypatch.setattr(multirun, "Progress", Counting)
    sweep("-m", "tracker=none", *typed)
    assert totals == [jobs]


@pytest.fixture
def typed():
    """`typed("seed=0,1", …)`: the config of a multirun with these overrides."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        yield lambda *overrides: OmegaConf.create({"hydra": {"overrides": {"task": list(overrides)}}})


def test_numbers_of_values_are_those_of_swept_overrides(typed):
    config = typed("seed=0,1,2", "task.n=4", "intervention.layer=range(0,8,2)", "intervention.position=[S2,END]")
    assert _numbers_of_values(config) == {"seed=0,1,2": 3, "intervention.layer=range(0,8,2)": 4}
    assert _numbers_of_values(typed()) == {}


def test_options_of_a_config_group_are_counted(typed):
    options = [path.stem for path in (CONFIG_FOLDER / "task").glob("*.yaml")]
    assert _numbers_of_values(typed("task=glob(*)")) == {"task=glob(*)": len(options)}


def test_an_override_without_a_value_is_found(typed):
    config = typed("seed=0,1", "intervention.layer=range(3,3)")
    assert _numbers_of_values(config)["intervention.layer=range(3,3)"] == 0


def leave(folder, status="done", metrics='{"effect": 1}', **identity):
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps({"status": status}))
    if status == "done":
        (folder / "metrics.json").write_text(metrics)
        (folder / "results.csv").write_text("layer\n0\n")
        (folder / "provenance.json").write_text(json.dumps({"identity": identity}))
    return folder


def test_a_job_has_failed_if_it_is_not_done_or_lacks_the_metric_of_a_search(tmp_path):
    done = leave(tmp_path / "done")
    assert not _has_failed(done, None)
    assert not _has_failed(done, "effect")
    assert _has_failed(done, "another")
    for status in ("failed", "running"):
        assert _has_failed(leave(tmp_path / status, status), None)
    assert _has_failed(tmp_path / "nothing", None)
    damaged = leave(tmp_path / "damaged", metrics="{")
    assert _has_failed(damaged, None)


def test_finished_jobs_are_counted_with_those_of_other_code(tmp_path):
    assert _finished_jobs(tmp_path) == "0 jobs are done"
    here = {"code": sha256_of_code(frozenset()), "packages": library_versions()}
    leave(tmp_path / "0", **here)
    leave(tmp_path / "1", "failed")
    leave(tmp_path / "2", metrics="{", **here)
    assert _finished_jobs(tmp_path) == "1 job is done"
    leave(tmp_path / "3", code="other")
    assert _finished_jobs(tmp_path) == "2 jobs are done, 1 of them with other code, which are run again"


@pytest.fixture
def state():
    Multirun.reset()
    yield Multirun
    Multirun.reset()


def test_jobs_that_failed_are_counted_in_the_folder_at_the_end(state, tmp_path, capsys):
    for job, status in enumerate(("done", "failed", "done")):
        (leave(tmp_path / str(job), status) / ".hydra").mkdir()
    (tmp_path / "3" / ".hydra").mkdir(parents=True)
    config = {"hydra": {"sweep": {"dir": str(tmp_path)}}}
    state().on_multirun_end(OmegaConf.create(config))
    assert state.failed == 2
    state().on_multirun_end(OmegaConf.create(config | {"optimize": "another"}))
    assert state.failed == 4


@pytest.mark.parametrize(
    ("resumes", "command"), [(True, "the same command"), (False, "the same command with resume=true")]
)
def test_how_to_resume_is_printed_once_a_job_has_begun(state, tmp_path, capsys, resumes, command):
    state.folder, state.resumes = tmp_path, resumes
    state.print_how_to_resume()
    assert capsys.readouterr().err == ""
    state.print_end("interrupted")
    assert capsys.readouterr().err == "interrupted\n"
    leave(tmp_path / "0", "failed")
    state.print_how_to_resume()
    assert capsys.readouterr().err == f"stopped; {command} goes on in {tmp_path}\n"


def test_jobs_that_did_not_finish_are_named(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert state.unfinished() == "no job had begun"
    state.folder = tmp_path
    leave(tmp_path / "0")
    leave(tmp_path / "1", "failed")
    assert state.unfinished() == "no job had begun"
    leave(tmp_path / "2", "running")
    assert state.unfinished() == "1 job did not finish (2)"
    leave(tmp_path / "3", "running")
    assert state.unfinished() == "2 jobs did not finish (2, 3)"


def test_a_job_in_another_process_knows_the_process_of_the_command(monkeypatch):
    """Its copy of the callback has been pickled; a single run has none to end with."""
    ended_with = []
    monkeypatch.setattr(multirun, "end_with_command", lambda config, pid: ended_with.append(pid))
    config = OmegaConf.create({"hydra": {"launcher": {"_target_": "a.LocalLauncher"}}})
    callback = Multirun()
    callback.on_job_start(config)
    assert ended_with == []
    callback._command = 4
    pickle.loads(pickle.dumps(callback)).on_job_start(config)
    assert ended_with == [4]


def test_a_grid_without_jobs_names_the_override(state):
    state.empty = ["seed=range(3,3)", "task.n=range(2,2)"]
    assert str(state.empty_grid()) == "seed=range(3,3): stands for no value, so there is nothing to run"
