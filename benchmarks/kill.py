"""`python -m benchmarks.kill`: kill a sweep at random moments, resume it each time, and check its results.

The killed sweep must end with every job done once and with the results of an uninterrupted sweep.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ioi_lab.runs.reading import is_done

SWEEP = Path(__file__).resolve().parent.parent / "sweep.py"
SHARE_DURING_WORK = 2 / 3
RESULTS = ("metrics.json", "results.csv", "prompts.csv")


@dataclass(frozen=True)
class Killed:
    """The outcome of a killed and resumed sweep."""

    jobs: int
    kills: int
    done_at_kills: list[int]
    """The number of finished jobs at each kill."""

    recomputed: int
    """Finished jobs that were run again."""

    different: list[str]
    """Files that differ from those of the uninterrupted sweep."""

    left_running: int
    """Jobs whose status is not `done` at the end."""


def kill_and_resume(folder: Path, overrides: Sequence[str], kills: int, seed: int, longest: float) -> Killed:
    """Run a sweep in `folder`, killing it (SIGKILL) `kills` times, each within `longest` seconds.

    The seconds count from the start of Python, or (for two kills in three) from the end of a job. Then run it to its
    end, and run the same sweep without interruption.
    """
    rng = random.Random(seed)
    command = [sys.executable, str(SWEEP), "-m", "tracker=none", *overrides]
    finished: dict[Path, int] = {}
    done_at_kills, recomputed = [], 0
    for _ in range(kills):
        process = subprocess.Popen([*command, "name=killed"], cwd=folder, stdout=subprocess.DEVNULL)
        if rng.random() < SHARE_DURING_WORK:
            _wait_for_a_job(process, folder / "runs" / "killed")
        time.sleep(rng.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = _finished(folder / "runs" / "killed")
        recomputed += sum(now.get(job) != moment for job, moment in finished.items())
        finished = now
        done_at_kills.append(len(now))
    subprocess.run([*command, "name=killed"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    now = _finished(folder / "runs" / "killed")
    recomputed += sum(now.get(job) != moment for job, moment in finished.items())
    subprocess.run([*command, "name=whole"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    jobs = _jobs(folder / "runs" / "whole")
    killed = {job.name: job for job in _jobs(folder / "runs" / "killed")}
    different = [
        f"{job.name}/{name}"
        for job in jobs
        for name in RESULTS
        if (job / name).read_bytes() != (killed[job.name] / name).read_bytes()
    ]
    left = sum(not is_done(job) for job in killed.values())
    return Killed(len(killed), kills, done_at_kills, recomputed, different, left)


def _wait_for_a_job(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until one more job is done, or the sweep has ended."""
    before = _finished(folder)
    while process.poll() is None and _finished(folder) == before:
        time.sleep(0.01)


def _jobs(folder: Path) -> list[Path]:
    return [path.parent for path in folder.glob("*/*/status.json")]


def _finished(folder: Path) -> dict[Path, int]:
    """Return the finished jobs, with the time at which their status was written."""
    return {job: (job / "status.json").stat().st_mtime_ns for job in _jobs(folder) if is_done(job)}


def main() -> None:
    """Parse the command line, run, and print the outcome."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds to the latest kill")
    options = parser.parse_args()
    overrides = [
        "task.n=8",
        "intervention.layer=0,1,2,3",
        "intervention.head=0,1,2,3",
        "intervention.position=all,END,S2",
        "intervention.direction=denoise,noise",
    ]
    with tempfile.TemporaryDirectory() as folder:
        killed = kill_and_resume(Path(folder), overrides, options.kills, options.seed, options.longest)
    print(json.dumps(vars(killed), indent=2))
    sys.exit(1 if killed.recomputed or killed.different or killed.left_running else 0)


if __name__ == "__main__":
    main()
