"""Preemption and the states of jobs, with stand-ins for Slurm's commands; `tests/slurm/` runs on a real Slurm."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from submitit.core.utils import UncompletedJobError
from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

from ioi_lab.cli.slurm import QueueWatcher, is_preempted, is_requeued, requeue_once, watch_without_accounting

RUNNING = "JobId=4 JobState=RUNNING Requeue=1 Restarts=1 EndTime=Unknown PreemptTime=None SuspendTime=None"
PREEMPTED = "JobId=4 JobState=RUNNING Requeue=1 Restarts=1 EndTime=Unknown PreemptTime=2026-11-26T07:56:34 Secs=0"
REQUEUED = "JobId=4 JobState=COMPLETING Requeue=1 Restarts=2 EndTime=Unknown SuspendTime=None"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """`slurm("scontrol", "exit 1")`: a command of Slurm, as a shell script."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "4")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")

    def write(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return write


@pytest.fixture(params=["USR2", "TERM"])
def preempt(request, monkeypatch):
    """`preempt(handler)`: the job has this handler, of submitit, and is preempted twice."""
    number = getattr(signal, f"SIG{request.param}")
    if request.param == "TERM":
        monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "TERM")
    before = signal.getsignal(number)

    def preempt(handler) -> None:
        signal.signal(number, handler)
        requeue_once()
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)

    yield preempt
    signal.signal(number, before)


def fails(error):
    def handler(number, frame):
        handler.calls += 1
        raise error

    handler.calls = 0
    return handler


def test_a_second_signal_does_not_change_the_end(preempt):
    handler = fails(SystemExit(255))
    with pytest.raises(SystemExit) as end:
        preempt(handler)
    assert (end.value.code, handler.calls) == (255, 1)


@pytest.mark.parametrize(
    "error",
    [subprocess.CalledProcessError(1, ["scontrol", "requeue"]), UncompletedJobError("timed-out too many times")],
    ids=["refused", "short of time"],
)
@pytest.mark.parametrize(("shown", "ends"), [(REQUEUED, True), (PREEMPTED, True), (RUNNING, False)])
def test_a_job_that_slurm_requeues_ends_without_an_error(preempt, slurm, error, shown, ends):
    slurm("scontrol", f'[ "$1" = requeue ] || echo "{shown}"')
    with pytest.raises(SystemExit if ends else type(error)):
        preempt(fails(error))


def test_a_job_that_slurm_does_not_requeue_fails(preempt, slurm):
    slurm("scontrol", f'[ "$1" = requeue ] && exit 1; echo "{PREEMPTED}"')
    with pytest.raises(subprocess.CalledProcessError):
        preempt(fails(subprocess.CalledProcessError(1, ["scontrol", "requeue"])))


def test_without_a_handler_of_submitit_nothing_is_handled():
    before = signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    requeue_once()
    assert signal.signal(signal.SIGUSR2, before) == signal.SIG_DFL


def test_what_scontrol_shows():
    assert [is_requeued(shown, 1) for shown in (RUNNING, PREEMPTED, REQUEUED, "")] == [False, False, True, False]
    assert [is_preempted(shown) for shown in (RUNNING, PREEMPTED, REQUEUED, "")] == [False, True, False, False]


@pytest.mark.parametrize(("script", "kind"), [("exit 1", QueueWatcher), ("exit 0", SlurmInfoWatcher)])
def test_jobs_are_watched_by_squeue_if_there_are_no_accounts(slurm, monkeypatch, script, kind):
    monkeypatch.setattr(SlurmJob, "watcher", SlurmInfoWatcher())
    slurm("sacct", f"echo Slurm accounting storage is disabled >&2; {script}")
    watch_without_accounting()
    assert type(SlurmJob.watcher) is kind


def test_states_are_those_of_the_queue(slurm, capfd):
    slurm("squeue", "echo '4_0|PENDING'; echo '4_1|COMPLETED'; echo '5|FAILED'; echo '6|RUNNING'")
    watcher = QueueWatcher()
    for job in ("4_0", "4_1", "5", "6", "7"):
        watcher.register_job(job)
    states = {job: watcher.get_state(job, mode="force") for job in ("4_0", "4_1", "5", "6", "7")}
    assert states == {"4_0": "PENDING", "4_1": "COMPLETED", "5": "FAILED", "6": "RUNNING", "7": "GONE"}
    assert [job for job in states if watcher.is_done(job)] == ["4_1", "5", "7"]
    assert capfd.readouterr() == ("", "")
    watcher._finished = set(states)
    assert watcher._make_command() is None
