from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
import wandb

from ioi_lab.runs.wandb_service import stop_service, with_service


def kill_service():
    cores = [child for child in psutil.Process().children(recursive=True) if "wandb-core" in child.name()]
    for core in cores:
        core.kill()
        core.wait(10)
    return len(cores)


def log_run(folder, kill_after=""):
    """Log a W&B run; its process is killed once, after a step."""
    killed = []

    def work():
        run = wandb.init(dir=folder, mode="offline", settings=wandb.Settings(silent=True, console="off"))
        if kill_after == "init" and not killed:
            killed.append(kill_service())
        run.summary["x"] = 1
        if kill_after == "summary" and not killed:
            killed.append(kill_service())
        run.finish()
        return run.id

    return with_service(work, folder)


@pytest.fixture(autouse=True)
def clean(no_login):
    yield
    stop_service()


@pytest.mark.parametrize("kill_after", ["", "init", "summary"])
def test_a_process_that_is_killed_is_started_again(tmp_path, kill_after):
    ids = [log_run(tmp_path, kill_after), None, None]
    assert kill_service() == 1
    for number in (1, 2):
        ids[number] = log_run(tmp_path)
    # What the attempts that failed have left is not there to be uploaded.
    runs = [path.name.rpartition("-")[2] for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert sorted(runs) == sorted(ids)


def test_a_process_of_the_parent_that_is_gone_is_not_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SERVICE", f"3-{os.getpid()}-unix-{tmp_path}/gone")
    assert log_run(tmp_path)


def test_an_error_of_the_work_is_raised_and_the_work_not_repeated(tmp_path):
    calls = []

    def work():
        calls.append(1)
        (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
        raise wandb.errors.CommError("no")

    (tmp_path / "wandb" / "offline-run-0").mkdir(parents=True)
    with pytest.raises(wandb.errors.CommError):
        with_service(work, tmp_path)
    assert calls == [1]
    assert [path.name for path in (tmp_path / "wandb").iterdir()] == ["offline-run-0"]


def test_a_process_that_is_lost_for_good_is_reported(tmp_path):
    def work():
        raise ConnectionResetError("Connection lost")

    with pytest.raises(ConnectionResetError):
        with_service(work, tmp_path)


def test_a_process_that_is_killed_leaves_no_traceback_at_exit(tmp_path):
    code = "import sys, pathlib; from tests.runs.test_wandb_service import *; f = pathlib.Path(sys.argv[1]); log_run(f)"
    command = [sys.executable, "-c", f"{code}; print(kill_service())", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("1\n", "")
