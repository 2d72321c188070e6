"""`python -m benchmarks.startup`: the time until the first figure, next to that of the imports alone."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_RUN: Final = ("{code}/sweep.py", "model=tiny-gpt2")
COMMANDS: Final = {
    "import TransformerBridge": ("-c", "from transformer_lens.model_bridge import TransformerBridge"),
    "run and figures": (*_RUN, "tracker=none"),
    "run, figures, offline W&B run": _RUN,
}
"""What is timed, each in a process of its own: the arguments of Python, with `{code}` for the folder of the lab."""


def main() -> None:
    """Parse the command line, time each command, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="runs per command; all commands take turns")
    parser.add_argument("--code", type=Path, default=ROOT, help="a checkout of the lab, for a comparison with this one")
    options = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(options.times):
        for name, arguments in COMMANDS.items():
            seconds[name].append(timed(arguments, options.code))
    print("| command | CPU s | wall s |", "|---|---|---|", sep="\n")
    for name, each in seconds.items():
        columns = (", ".join(f"{value:.1f}" for value in column) for column in zip(*each, strict=True))
        print(f"| {name} | {' | '.join(columns)} |")


def timed(arguments: Sequence[str], code: Path) -> tuple[float, float]:
    """Run Python, with the lab in the folder `code`; returns the seconds of its processors and those that passed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "PYTHONPATH": str(code.resolve())}
    with tempfile.TemporaryDirectory() as folder:
        before, start = _processor_seconds(), time.perf_counter()
        command = [sys.executable, *(argument.replace("{code}", str(code.resolve())) for argument in arguments)]
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
        return _processor_seconds() - before, time.perf_counter() - start


def _processor_seconds() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
