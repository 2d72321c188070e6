"""`python -m benchmarks.hub`: the models of the hub at full size, from download to every intervention.

A stand-in for the hub on loopback serves `gpt2` and `EleutherAI/pythia-410m` with random weights. The first run of
each model downloads it; then the stand-in stops, and the others read the cache. Prints a table; exits with 1 if a run
has failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ioi_lab.config import CONFIG_FOLDER
from tests.hub_stand_in import HubStandIn, Repository

OTHER: Final = {"gpt2-small": "pythia-410m", "pythia-410m": "gpt2-small"}
SWEEP: Final = Path(__file__).resolve().parent.parent / "sweep.py"
COMMON: Final = ("tracker=none", "model.device=cpu", "task.n=4")
SMALL: Final[dict[str, tuple[str, ...]]] = {
    "path_patch": ("intervention.layer=[0,11]",),
    "attribution_patch": ("intervention.layer=[0,11]",),
    "steer": ("intervention.layer=[1,11]", "intervention.scale=[-1,1]", "intervention.side_effects=1"),
    "transfer": (
        "corpus@intervention.corpus=task",
        "intervention.corpus.task.n=40",
        "intervention.alignment.positions=last",
        "intervention.alignment.source_layers=[8]",
        "intervention.alignment.target_layers=[8]",
        "intervention.scale=[-1,1]",
        "intervention.controls=5",
        "intervention.unrelated=39",
    ),
    "head_roles": ("intervention.repeats=8", "intervention.n_reference=2", "task.n=16"),
    "knockout": ("intervention.head=[2.0@END,9.9@END]", "intervention.n_reference=2"),
    "wang2022": (
        "intervention.repeats=8",
        "intervention.n_reference=2",
        "intervention.random_sets=2",
        "intervention.greedy_steps=1",
        "task.n=16",
    ),
}
"""Overrides that make a run short."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    seconds: float
    peak_gb: float
    """The largest resident memory of the process."""

    error: str | None
    """The last line of a run that failed."""


@dataclass(frozen=True)
class Bench:
    """A folder for runs, and the hub that they use."""

    folder: Path
    hub: HubStandIn

    def run(self, overrides: Sequence[str]) -> Outcome:
        """Run `sweep.py` in a process of its own."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        environment = others | {"HF_ENDPOINT": self.hub.endpoint, "HF_HOME": str(self.folder / "cache")}
        start = time.perf_counter()
        with (self.folder / "log.txt").open("w+") as log:
            command = [sys.executable, str(SWEEP), *COMMON, *overrides]
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
        failed = os.waitstatus_to_exitcode(status) != 0
        return Outcome(time.perf_counter() - start, usage.ru_maxrss / 2**20, lines[-1] if failed else None)

    def print_row(self, model: str, label: str, overrides: Sequence[str]) -> bool:
        """Run, print a line of the table, and return whether the run has failed."""
        self.hub.requests.clear()
        outcome = self.run([f"model={model}", *overrides])
        requests = "stopped" if self.hub.stopped.is_set() else len(self.hub.requests)
        result = outcome.error or "done"
        print(
            f"| {model} | {label} | {outcome.seconds:.0f} | {outcome.peak_gb:.1f} | {requests} | {result} |", flush=True
        )
        return outcome.error is not None


def served(folder: Path) -> list[Repository]:
    """Write the two repositories, with the names and revisions of `conf/model/`."""
    # In a process of its own: a process starts with the peak memory of its parent.
    subprocess.run([sys.executable, "-m", "benchmarks.hub_repositories", str(folder)], cwd=SWEEP.parent, check=True)
    gpt2, pythia = {"main": "607a30d783dfa663caf39e06633721c8d4cfcd7e"}, {"step143000": "a" * 40, "main": "b" * 40}
    return [
        Repository("openai-community/gpt2", folder / "gpt2", gpt2, old_names=("gpt2",)),
        Repository("EleutherAI/pythia-410m", folder / "pythia-410m", pythia),
    ]


def main() -> None:
    """Parse the command line, serve, run, and print the table."""
    names = sorted(path.stem for path in (CONFIG_FOLDER / "intervention").glob("*.yaml"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hub", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(OTHER), choices=list(OTHER))
    parser.add_argument("--interventions", nargs="+", default=names, choices=names)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), HubStandIn(served(Path(temporary))))
        print("| model | run | s | peak GB | requests to the hub | outcome |\n|---|---|---|---|---|---|", flush=True)
        with bench.hub:
            one_head = ("intervention.layer=0", "intervention.head=0")
            failed = [bench.print_row(model, "download", one_head) for model in OTHER]
        for model in options.models:
            for name in options.interventions:
                source = (f"model@intervention.source={OTHER[model]}",) if name == "transfer" else ()
                failed.append(bench.print_row(model, name, (f"intervention={name}", *SMALL.get(name, ()), *source)))
    sys.exit(1 if any(failed) else 0)


if __name__ == "__main__":
    main()
