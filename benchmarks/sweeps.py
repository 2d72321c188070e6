"""`python -m benchmarks.sweeps`: 1,296 points of steering (layers × heads × scales) four ways, on the same prompts.

`fresh`: Hydra's basic launcher with the model loaded again for each job, which is what a loop over a script does;
`sharing`: the basic launcher as it is, whose jobs share model, prompts and baselines; `batch`: `hydra/launcher=batch`;
`grid`: one run with all points in it. For the first two, only a sample of jobs is run and timed, without Hydra's own
work around them; for the others, everything but Python's imports is timed. Each way runs in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, Final

import numpy as np

WAYS: Final = ("fresh", "sharing", "batch", "grid")
POINTS: Final = 1296
SHAPES: Final = {"tiny-gpt2": (4, 4), "gpt2-small-shape": (12, 12)}
"""Layers and heads."""


@dataclass(frozen=True)
class Points:
    """A grid of sites and scales."""

    layers: list[int]
    heads: list[int]
    scales: list[float]

    @classmethod
    def whole(cls, model: str) -> Points:
        """Return all layers and heads of a model, with as many scales from −4 to 4 as make 1,296 points."""
        layers, heads = SHAPES[model]
        scales = np.linspace(-4, 4, POINTS // (layers * heads)).round(3)
        return cls(list(range(layers)), list(range(heads)), scales.tolist())

    def some(self, jobs: int) -> Points:
        """Return about `jobs` points, spread over the grid."""
        first, last = self.layers[0], self.layers[-1]
        return Points(
            [first, last], [self.heads[0], self.heads[-1]], self.scales[:: max(1, 4 * len(self.scales) // jobs)]
        )

    def __len__(self) -> int:
        return len(self.layers) * len(self.heads) * len(self.scales)

    def overrides(self, *, swept: bool) -> list[str]:
        """Return the overrides: a sweep of all combinations, or lists inside of one run."""
        values: dict[str, Sequence[float]] = {"layer": self.layers, "head": self.heads, "scale": self.scales}
        texts = {key: ",".join(str(value) for value in chosen) for key, chosen in values.items()}
        return [f"intervention.{key}={text if swept else f'[{text}]'}" for key, text in texts.items()]


@dataclass(frozen=True)
class Timing:
    """The time and the memory of one way."""

    way: str
    jobs: int
    seconds: float
    """For `fresh` and `sharing`, without the first job."""

    engine_seconds: float
    load_seconds: float
    cpu_overhead: float
    """Seconds of the CPU outside the engine and without loading the model, whatever else the machine does."""

    peak_memory_gb: float


def main() -> None:
    """Parse the command line; time one way in this process, or all of them, each in its own."""
    options = _options()
    if options.way:
        print(json.dumps(asdict(time_way(options))))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; readout {options.readout}, "
          f"{options.prompts} prompts, figures {options.figures}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            time_model(model, options, Path(folder))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--sample", type=int, default=24, help="jobs that fresh and sharing are timed on")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--readout", choices=("full", "logit_diff"), default="full")
    parser.add_argument("--figures", action="store_true", help="let the jobs draw their figures")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def time_model(model: str, options: argparse.Namespace, folder: Path) -> None:
    """Time all ways on one model, and compare their numbers."""
    if model != "tiny-gpt2":
        from benchmarks.models import random_model

        random_model(model, folder)
    print(f"\n{model}: {POINTS:,} points")
    print(f"{'way':<10}{'jobs timed':>11}{'s, all points':>15}{'ms per job':>11}{'overhead, ms':>14}{'of the CPU':>12}"
          f"{'× fresh':>9}{'peak GB':>9}{'largest difference':>20}", flush=True)  # fmt: skip
    first: float | None = None
    known: dict[tuple[float, ...], float] = {}
    for way in options.ways:
        command = [sys.executable, "-m", "benchmarks.sweeps", "--way", way, "--models", model, "--folder", str(folder)]
        for name in ("sample", "prompts", "readout"):
            command += [f"--{name}", str(getattr(options, name))]
        command += ["--figures"] * options.figures
        outcome = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        timing = Timing(**json.loads(outcome.stdout.splitlines()[-1]))
        numbers = _logit_diffs(folder / f"{model}-{way}")
        apart = [abs(value - known[point]) for point, value in numbers.items() if point in known]
        known = numbers | known
        whole = timing.seconds / timing.jobs * POINTS if way in ("fresh", "sharing") else timing.seconds
        first = whole if way == "fresh" else first
        overhead = (timing.seconds - timing.engine_seconds - timing.load_seconds) / timing.jobs
        print(f"{way:<10}{timing.jobs:>11,}{whole:>15.1f}{1000 * whole / POINTS:>11.0f}"
              f"{1000 * overhead if way == 'batch' else float('nan'):>14.0f}"
              f"{1000 * timing.cpu_overhead / timing.jobs if way == 'batch' else float('nan'):>12.1f}"
              f"{(first or np.nan) / whole:>9.1f}"
              f"{timing.peak_memory_gb:>9.2f}{max(apart, default=np.nan):>20.1e}", flush=True)  # fmt: skip


def _logit_diffs(folder: Path) -> dict[tuple[float, ...], float]:
    """Return the steered logit difference of each point, from the tables of all runs."""
    import pandas as pd

    tables = pd.concat([pd.read_csv(path) for path in folder.glob("**/results.csv")])
    steered = tables[~tables["direction"].str.startswith("random")]
    points = steered[["layer", "head", "scale"]].round(3).to_numpy(dtype=float)
    return dict(zip(map(tuple, points.tolist()), steered["logit_diff"].tolist(), strict=True))


def time_way(options: argparse.Namespace) -> Timing:
    """Time one way in this process."""
    from ioi_lab.models.libraries import import_libraries

    import_libraries()  # not part of what is timed

    from ioi_lab.cli import sweep
    from ioi_lab.cli.command import run_command
    from ioi_lab.engine.engine import Engine
    from ioi_lab.engine.passes import Passes
    from ioi_lab.interventions.steer import measure, report  # noqa: F401  # imported before the time is taken
    from ioi_lab.jobs import experiment, job
    from ioi_lab.models import loading

    (model,) = options.models
    folder = Path(options.folder)
    points = Points.whole(model)
    if options.way in ("fresh", "sharing"):
        points = points.some(options.sample)
    engine, load, job_seconds = Stopwatch(), Stopwatch(), list[float]()
    Engine.evaluate = engine.of(Engine.evaluate)  # type: ignore[method-assign]
    Passes.recording = engine.of(Passes.recording)  # type: ignore[method-assign]
    run_job = job.run_job

    def timed_job(*arguments: Any, **named: Any) -> dict[str, float]:
        if options.way == "fresh":
            for shared in (loading.loaded, experiment.shared_prompts, experiment.shared_engine):
                shared.cache_clear()
            gc.collect()
        started = time.perf_counter()
        metrics = run_job(*arguments, **named)
        job_seconds.append(time.perf_counter() - started)
        return metrics

    job.run_job = timed_job
    loading.load_model = load.of(loading.load_model)
    sys.argv = ["sweep.py", *_overrides(options, points, folder)]
    started, cpu_started = time.perf_counter(), time.process_time()
    sys.stdout, stdout = sys.stderr, sys.stdout
    run_command(sweep.main, config_name="sweep")
    sys.stdout = stdout
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    jobs = len(job_seconds)
    if options.way in ("fresh", "sharing"):
        seconds, jobs = sum(job_seconds[1:]), jobs - 1
    return Timing(
        way=options.way,
        jobs=jobs,
        seconds=seconds,
        engine_seconds=engine.seconds,
        load_seconds=load.seconds,
        cpu_overhead=cpu_seconds - engine.cpu_seconds - load.cpu_seconds,
        peak_memory_gb=getrusage(RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    )


def _overrides(options: argparse.Namespace, points: Points, folder: Path) -> list[str]:
    (model,) = options.models
    target = folder / f"{model}-{options.way}"
    chosen = [f"model={model}"] if model == "tiny-gpt2" else ["model=folder", f"model.path={folder / model}"]
    where = [f"hydra.run.dir={target}"] if options.way == "grid" else ["-m", f"hydra.sweep.dir={target}"]
    return [
        *where,
        *(["hydra/launcher=batch"] if options.way == "batch" else []),
        *chosen,
        *points.overrides(swept=options.way != "grid"),
        f"task.n={options.prompts}",
        f"engine.readout={options.readout}",
        f"figures={str(options.figures).lower()}",
        "tracker=none",
        "intervention=steer",
        "intervention.component=z",
        "intervention.side_effects=0",
        "intervention.controls=5",
    ]


class Stopwatch:
    """Adds up the time that functions take; calls inside other timed calls are not counted twice."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._is_running = False

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            if self._is_running:
                return function(*arguments, **named)
            self._is_running = True
            started, cpu_started = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - started
                self.cpu_seconds += time.process_time() - cpu_started
                self._is_running = False

        return timed


if __name__ == "__main__":
    main()
