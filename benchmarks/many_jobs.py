"""`python -m benchmarks.many_jobs`: sweeps of 250, 1,000 and 2,000 small jobs: processor time per job, and memory.

Each sweep is steering on tiny-gpt2 with 8 prompts (layers × heads × 125 scales). It is run, then started again with
everything done, listed (`ls`) and summarized, each in a process of its own whose processor time (user and system, all
threads) is read when it ends. Times are of the processor, so that other work on the machine hardly matters. The time of
the smallest sweep that there is, which is mostly that of Python's imports, is subtracted from those of a sweep's jobs.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
SIZES: Final = {10: (1, 1, 10), 250: (2, 1, 125), 1000: (4, 2, 125), 2000: (4, 4, 125)}
"""Layers, heads and scales of a sweep, by its number of jobs; the first is the smallest sweep."""


@dataclass(frozen=True)
class Cost:
    """What a process has used."""

    seconds: float
    """The time of the processor."""

    peak_mb: float


def main() -> None:
    """Parse the command line, run the sweeps, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_jobs", description=__doc__)
    parser.add_argument("--jobs", nargs="+", type=int, choices=SIZES, default=list(SIZES))
    parser.add_argument("--launcher", choices=("basic", "batch"), default="batch")
    parser.add_argument("--folder", type=Path, help="keep the runs here (default: a folder that is deleted)")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; launcher {options.launcher}")
    print(f"{'jobs':>6}{'sweep, s':>10}{'ms per job':>12}{'peak MB':>9}{'again, s':>10}{'ms per job':>12}{'peak MB':>9}"
          f"{'ls, s':>8}{'summarize, s':>14}", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        least: tuple[int, Cost] | None = None
        for jobs in sorted(options.jobs):
            first, again = (_sweep(folder, jobs, options.launcher) for _ in range(2))
            least = least or (jobs, first)
            sweep = str(folder / "runs" / f"jobs-{jobs}")
            listed, summarized = (_lab(folder, command, sweep) for command in ("ls", "summarize"))
            own = 1000 * (first.seconds - least[1].seconds) / (jobs - least[0]) if jobs > least[0] else float("nan")
            print(f"{jobs:>6,}{first.seconds:>10.1f}{own:>12.1f}{first.peak_mb:>9.0f}{again.seconds:>10.1f}"
                  f"{1000 * again.seconds / jobs:>12.1f}{again.peak_mb:>9.0f}{listed.seconds:>8.1f}"
                  f"{summarized.seconds:>14.1f}", flush=True)  # fmt: skip


def _sweep(folder: Path, jobs: int, launcher: str) -> Cost:
    layers, heads, scales = SIZES[jobs]
    overrides = [
        f"intervention.layer={','.join(map(str, range(layers)))}",
        f"intervention.head={','.join(map(str, range(heads)))}",
        f"intervention.scale={','.join(f'{scale / 16:g}' for scale in range(-62, scales - 62))}",
        *("intervention=steer", "intervention.component=z", "intervention.side_effects=0", "intervention.controls=5"),
        *("task.n=8", "engine.readout=logit_diff", "figures=false", "tracker=none", f"name=jobs-{jobs}"),
        *([] if launcher == "basic" else [f"hydra/launcher={launcher}"]),
    ]
    return _cost([str(REPOSITORY / "sweep.py"), "-m", *overrides], folder)


def _lab(folder: Path, command: str, runs: str) -> Cost:
    return _cost(["-m", "ioi_lab.runs", command, runs], folder)


def _cost(arguments: Sequence[str], folder: Path) -> Cost:
    """Run Python with the arguments in a folder; raises a `CalledProcessError` if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), process.args)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main()
