"""Jobs on Slurm: a preempted job goes back into the queue once, and a cluster without accounting is no hindrance.

Imports submitit, which is an extra of this package.
"""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import sys
from types import FrameType
from typing import Final

from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob
from typing_extensions import override

_SIGNAL: Final = "SUBMITIT_PREEMPT_SIGNAL"
"""The environment variable that names the signal by which the cluster announces a preemption."""


def requeue_once() -> None:
    """In a job, answer the signal of a preemption once.

    Slurm sends it again while it stops the job. submitit would answer again, and what it then raises, because a job
    in the queue cannot be requeued, would stand for the outcome of the job.
    """
    number = getattr(signal, f"SIG{os.environ.get(_SIGNAL, 'USR2')}")
    submitit_handler = signal.getsignal(number)
    if not callable(submitit_handler):
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        try:
            submitit_handler(number, frame)
        except Exception:
            if not _goes_back_into_the_queue():
                raise
            sys.exit(1)

    signal.signal(number, handle)


def _goes_back_into_the_queue() -> bool:
    """Whether Slurm has requeued this job itself (`PreemptMode=REQUEUE`), or does so now that it has been asked."""
    job = os.environ["SLURM_JOB_ID"]
    shown = subprocess.run(["scontrol", "show", "job", "--oneliner", job], capture_output=True, text=True, check=False)
    if is_requeued(shown.stdout, int(os.environ.get("SLURM_RESTART_COUNT", "0"))):
        return True
    if not is_preempted(shown.stdout):
        return False
    return subprocess.run(["scontrol", "requeue", job], capture_output=True, check=False).returncode == 0


def is_requeued(shown: str, restarts: int) -> bool:
    """Return whether `scontrol show job` reports more than `restarts` restarts: the job is in the queue again."""
    found = re.search(r"\bRestarts=(\d+)", shown)
    return found is not None and int(found[1]) > restarts


def is_preempted(shown: str) -> bool:
    """Return whether `scontrol show job` reports that another job has preempted this one."""
    found = re.search(r"\bPreemptTime=(\S+)", shown)
    return found is not None and found[1] != "None"


def watch_without_accounting() -> None:
    """In the command, read the states of jobs from `squeue` if the cluster keeps no accounts that `sacct` could read.

    submitit knows `sacct` alone: it would print an error at each look, and wait forever for a job that was killed.
    """
    try:
        is_kept = subprocess.run(["sacct", "--jobs=1"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_kept = False
    if not is_kept:
        SlurmJob.watcher = QueueWatcher(delay_s=60)


class QueueWatcher(SlurmInfoWatcher):
    """Reads the states of jobs from `squeue`; a job that is not in the queue any more is `GONE`."""

    @override
    def _make_command(self) -> list[str] | None:
        columns = ["--noheader", "--array", "--states=all", "--format=%i|%T"]
        return ["squeue", f"--user={getpass.getuser()}", *columns] if self._registered - self._finished else None

    @override
    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        text = string if isinstance(string, str) else string.decode()
        states = dict(line.strip().split("|", 1) for line in text.splitlines() if "|" in line)
        return {job: {"JobID": job, "State": states.get(job, "GONE")} for job in self._registered}
