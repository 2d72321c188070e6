"""`python -m benchmarks.hub`: the models of the hub at full size, from download to every intervention.

A stand-in for the hub on loopback serves `gpt2` and `EleutherAI/pythia-410m` with random weights. The first run of
each model downloads it; then the stand-in stops, and the others read the cache. Prints a table; exits with 1 if a run
has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hydra.core.global_hydra import GlobalHydra

from ioi_lab.cli.command import run_command
from ioi_lab.cli.sweep import main as sweep
from ioi_lab.config import CONFIG_FOLDER
from tests.hub_stand_in import HubStandIn, Repository

OTHER: Final = {"gpt2-small": "pythia-410m", "pythia-410m": "gpt2-small"}
COMMON: Final = ("tracker=none", "figures=false", "model.device=cpu", "task.n=4", "task.corruption=swap")
"""With random weights, a single name that changes hardly changes the mean logit difference."""

SMALL: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("ablate", "attribution_patch", "patch", "path_patch"), ("intervention.layer=[0,11]",)),
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
        "task.n=12",
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


def print_row(hub: HubStandIn, model: str, label: str, overrides: Sequence[str]) -> bool:
    """Run `sweep.py` in this process, print a line of the table, and return whether the run has failed."""
    hub.requests.clear()
    started = time.process_time()
    GlobalHydra.instance().clear()
    sys.argv = ["sweep.py", *COMMON, f"model={model}", *overrides]
    output = io.StringIO()
    outcome = "done"
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            run_command(sweep, config_name="sweep")
        except SystemExit:
            outcome = output.getvalue().strip().rpartition("\n")[2]
        except Exception as error:  # a bug, which would end in a traceback
            outcome = f"{type(error).__name__}: {error}"
        finally:
            logging.getLogger().handlers.clear()  # Hydra's, which write to this output
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    requests = "stopped" if hub.stopped.is_set() else len(hub.requests)
    print(f"| {model} | {label} | {seconds:.1f} | {peak:.1f} | {requests} | {outcome} |", flush=True)
    return outcome != "done"


def run_all(model: str, names: Sequence[str], folder: Path) -> None:
    """Download a model, and run the interventions on it without the hub; exits with 1 if a run has failed."""
    hub = HubStandIn(served(folder))
    os.environ |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "cache")}  # read when its library is imported
    os.environ.pop("HF_HUB_OFFLINE", None)
    os.chdir(folder)
    with hub:
        one_head = ("intervention.layer=0", "intervention.head=0")
        failed = [print_row(hub, each, "download", one_head) for each in needed(model, names)]
    for name in names:
        source = (f"model@intervention.source={OTHER[model]}",) if name == "transfer" else ()
        failed.append(print_row(hub, model, name, (f"intervention={name}", *SMALL.get(name, ()), *source)))
    sys.exit(1 if any(failed) else 0)


def needed(model: str, names: Sequence[str]) -> list[str]:
    """Return the models that the runs need: `transfer` needs another one."""
    return [OTHER[model], model] if "transfer" in names else [model]


def write_repositories(folder: Path) -> None:
    """Write the two repositories in a process of its own, unless they are there: this one's memory stays small."""
    if not (folder / "pythia-410m").is_dir():
        command = [sys.executable, "-m", "benchmarks.hub_repositories", str(folder)]
        subprocess.run(command, cwd=Path(__file__).parent.parent, check=True)


def served(folder: Path) -> list[Repository]:
    """Return the two repositories, with the names and revisions of `conf/model/`."""
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
    parser.add_argument("--folder", type=Path, help="where to keep the repositories, the cache and the runs (5 GB)")
    options = parser.parse_args()
    print("| model | run | CPU s | peak GB | requests to the hub | outcome |\n|---|---|---|---|---|---|", flush=True)
    spawn = multiprocessing.get_context("spawn")  # a process per model: its memory, and its environment variables
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        write_repositories(folder)
        codes = []
        for model in options.models:
            process = spawn.Process(target=run_all, args=(model, options.interventions, folder))
            process.start()
            process.join()
            codes.append(process.exitcode)
    sys.exit(1 if any(codes) else 0)


if __name__ == "__main__":
    main()
