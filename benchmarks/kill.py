"""`python -m benchmarks.kill`: kill sweeps at random moments, resume them each time, and check their results.

With every launcher, the killed sweep must end with every job done once and with the results of an uninterrupted sweep,
and no process may outlive a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import psutil

from ioi_lab.runs.finding import run_folders
from ioi_lab.runs.reading import is_done

SWEEP: Final = Path(__file__).resolve().parent.parent / "sweep.py"
SHARE_DURING_WORK: Final = 2 / 3
RESULTS: Final = ("metrics.json", "results.csv", "prompts.csv")
LAUNCHERS: Final = {
    "basic": (),
    "batch": ("hydra/launcher=batch", "hydra.launcher.wave=3"),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
}
GRID: Final = (
    "task.n=8",
    "intervention.layer=0,1,2,3",
    "intervention.head=0,1,2,3",
    "intervention.position=all,END,S2",
    "intervention.direction=denoise,noise",
)
SMALL_GRID: Final = ("task.n=4", "figures=false", "intervention.layer=0,1,2,3", "intervention.head=0,1")
SECONDS_TO_END: Final = 15.0
"""Seconds after which a process that outlives a kill counts as an orphan; one that just starts imports for a while."""

TOLERANCE: Final = 1e-4
"""Largest difference of two numbers that count as equal: jobs that share passes with others differ by rounding."""

_MARK: Final = "IOI_LAB_KILLED"
"""The environment variable by which the processes of a killed sweep are found."""


@dataclass(frozen=True)
class Killed:
    """The outcome of a killed and resumed sweep."""

    launcher: str
    jobs: int
    kills: int
    done_at_kills: list[int]
    """The number of finished jobs at each kill."""

    lost: int
    """Jobs of the uninterrupted sweep that are not done at the end."""

    recomputed: int
    """Finished jobs that were run again."""

    different: list[str]
    """Files that differ from those of the uninterrupted sweep by more than `TOLERANCE`."""

    orphans: int
    """Processes that outlived a kill."""


def run_whole(folder: Path, overrides: Sequence[str]) -> Path:
    """Run the sweep in `folder` without interruption, and return the folder of its jobs."""
    subprocess.run(_command("whole", overrides), cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return folder / "runs" / "whole"


def kill_and_resume(
    folder: Path, whole: Path, overrides: Sequence[str], kills: int, seed: int, longest: float, launcher: str = "basic"
) -> Killed:
    """Run a sweep in `folder`, killing it (SIGKILL) `kills` times, each within `longest` seconds, then to its end.

    The seconds count from the start of Python, or (for two kills in three) from the end of a job. The results are
    compared with those of the uninterrupted sweep in `whole`.
    """
    rng = random.Random(seed)
    name = f"killed-{launcher}"
    command = _command(name, [*overrides, *LAUNCHERS[launcher]])
    sweep = folder / "runs" / name
    finished: dict[Path, int] = {}
    done_at_kills, recomputed, orphans = [], 0, 0
    for _ in range(kills):
        mark = uuid.uuid4().hex
        process = subprocess.Popen(command, cwd=folder, env=os.environ | {_MARK: mark}, stdout=subprocess.DEVNULL)
        if rng.random() < SHARE_DURING_WORK:
            _wait_for_a_job(process, sweep)
        time.sleep(rng.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        process.wait()
        orphans += _end_orphans(mark)
        now = _finished(sweep)
        recomputed += sum(now.get(job) != moment for job, moment in finished.items())
        finished = now
        done_at_kills.append(len(now))
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    now = _finished(sweep)
    recomputed += sum(now.get(job) != moment for job, moment in finished.items())
    done = {job.name: job for job in now}
    jobs = list(run_folders(whole))
    different = [
        f"{job.name}/{file}"
        for job in jobs
        for file in RESULTS
        if job.name in done and not _are_close(job / file, done[job.name] / file)
    ]
    lost = sum(job.name not in done for job in jobs)
    return Killed(launcher, len(jobs), kills, done_at_kills, lost, recomputed, different, orphans)


def _are_close(one: Path, other: Path) -> bool:
    """Return whether two CSV or JSON files have the same texts, and numbers that differ by `TOLERANCE` at most."""
    if one.read_bytes() == other.read_bytes():
        return True
    try:
        pd.testing.assert_frame_equal(_as_table(one), _as_table(other), rtol=0, atol=TOLERANCE)
    except AssertionError:
        return False
    return True


def _as_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.DataFrame([json.loads(path.read_text())])


def _command(name: str, overrides: Sequence[str]) -> list[str]:
    return [sys.executable, str(SWEEP), "-m", "tracker=none", f"name={name}", *overrides]


def _wait_for_a_job(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until one more job is done, or the sweep has ended."""
    before = _finished(folder)
    while process.poll() is None and _finished(folder) == before:
        time.sleep(0.01)


def _finished(folder: Path) -> dict[Path, int]:
    """Return the finished jobs, with the time at which their status was written."""
    return {job: (job / "status.json").stat().st_mtime_ns for job in run_folders(folder) if is_done(job)}


def _end_orphans(mark: str) -> int:
    """Return how many processes of a killed sweep do not end by themselves; end them."""
    end = time.monotonic() + SECONDS_TO_END
    while (left := _processes(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    for process in left:
        process.kill()
    return len(left)


def _processes(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # of another user, or gone
            continue
    return found


def table(outcomes: Sequence[Killed]) -> str:
    """Return the outcomes as a table with a row per launcher."""
    rows = [vars(outcome) | {"different files": len(outcome.different)} for outcome in outcomes]
    columns = ["launcher", "jobs", "kills", "done_at_kills", "lost", "recomputed", "different files", "orphans"]
    return pd.DataFrame(rows)[columns].to_string(index=False)


def main() -> None:
    """Parse the command line, run, and print the outcome."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds to the latest kill")
    parser.add_argument("--launchers", nargs="+", choices=LAUNCHERS, default=list(LAUNCHERS))
    parser.add_argument("--small", action="store_true", help="8 jobs without figures instead of 96")
    options = parser.parse_args()
    overrides = SMALL_GRID if options.small else GRID
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = run_whole(folder, overrides)
        outcomes = [
            kill_and_resume(folder, whole, overrides, options.kills, options.seed, options.longest, launcher)
            for launcher in options.launchers
        ]
    print(table(outcomes))
    sys.exit(any(outcome.lost or outcome.recomputed or outcome.different or outcome.orphans for outcome in outcomes))


if __name__ == "__main__":
    main()
