"""`python -m benchmarks.dashboard`: how long the dashboard takes with many runs; `--write FOLDER`: runs to look at.

The runs are synthetic: sweeps of patching in four models, of which a hundredth failed and a hundredth are damaged.
Timed are the first scan; the start of a process that finds the index of an earlier one ("ready": the whole table of
runs has been made for the browser, with all changes); a scan after which nothing has changed; and pages, the first time
that they are opened. In brackets is the time of the processor, which other work on the machine does not lengthen.
Imports are not counted.
Goals: ready in less than 1 s with 1,000 runs and 3 s with 10,000.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pandas as pd

from ioi_lab.dashboard.app import layout_at
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.views import CompareView, RunView, SiteView, SweepView
from ioi_lab.storage.files import yaml_text
from ioi_lab.storage.tables import csv_bytes

SIZES: Final = (1_000, 10_000)
JOBS: Final = 250
"""The number of jobs of a sweep."""

MODELS: Final = ("tiny-gpt2", "tiny-pythia", "gpt2-small", "smollm2-135m")
VARIANTS: Final = 20
"""The number of different results, which runs take in turn."""

PROMPTS: Final = 16
LAYERS, HEADS = 4, 4


def main() -> None:
    """Print the times as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the runs into a folder, and time nothing")
    options = parser.parse_args()
    logging.getLogger("ioi_lab.runs.table").setLevel(logging.ERROR)
    if options.write is not None:
        write_runs(options.write, options.runs[0])
        return
    print("| runs | first scan | ready | scan without changes | run | sweep of 250 | site | compare |")
    print("|---|---|---|---|---|---|---|---|")
    for count in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            times = measure(Path(folder), count)
        print(f"| {count:,} | " + " | ".join(f"{wall:.2f} s ({cpu:.2f} s)" for wall, cpu in times) + " |", flush=True)


def measure(folder: Path, count: int) -> list[tuple[float, float]]:
    """Return the times with a number of runs, in the order of the table that `main` prints."""
    runs = folder / "runs"
    write_runs(runs, count)
    cache = folder / "cache"
    first = _timed(lambda: _ready(runs, cache))
    ready = _timed(lambda: _ready(runs, cache))
    index = Index(RunsFolder(runs), cache)
    index.refresh()
    again = _timed(index.refresh)
    run = f"{sweep_name(0)}/2"
    views = [
        RunView(run, tab="map", row=1),
        SweepView(sweep_name(0)),
        SiteView("1.2"),
        CompareView((run, f"{sweep_name(0)}/3")),
    ]
    pages = [_timed(partial(layout_at, index, *view.address.partition("?")[::2])) for view in views]
    return [first, ready, again, *pages]


def _ready(runs: Path, cache: Path) -> Any:
    index = Index(RunsFolder(runs), cache)
    index.refresh()
    return layout_at(index, "/", "")


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds that work takes, and those of the processor among them."""
    started, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - processor


@dataclass(frozen=True)
class _Variant:
    """The results of a run."""

    files: dict[str, bytes]

    @classmethod
    def of(cls, rng: np.random.Generator) -> Self:
        table = _results(rng)
        best = table.to_dict("records")[int(table["recovery"].abs().argmax())]
        metrics: dict[str, float] = {
            "n_prompts": PROMPTS,
            "best_layer": int(best["layer"]),
            "best_head": int(best["head"]),
        }
        metrics |= {f"best_recovery{end}": float(best[f"recovery{end}"]) for end in ("", "_low", "_high")}
        metrics |= {f"clean_{name}{end}": 1.0 for name in ("logit_diff", "accuracy") for end in ("", "_low", "_high")}
        tables = {"results.csv": csv_bytes(table), "prompts.csv": csv_bytes(_prompts())}
        per_prompt = _per_prompt(table, rng).to_parquet(index=False)
        texts = {"metrics.json": json.dumps(metrics).encode(), "summary.txt": b"synthetic\n"}
        return cls(tables | texts | {"per_prompt.parquet": per_prompt})


def sweep_name(number: int) -> str:
    """Return the folder of a sweep."""
    return f"synthetic-{number:03}/2026-01-{1 + number % 28:02}_12-00-00"


def write_runs(folder: Path, count: int) -> None:
    """Write a number of synthetic run folders."""
    rng = np.random.default_rng(0)
    variants = [_Variant.of(rng) for _ in range(VARIANTS)]
    for number in range(count):
        sweep, job = divmod(number, JOBS)
        path = folder / sweep_name(sweep)
        if job == 0:
            path.mkdir(parents=True)
            (path / "multirun.yaml").write_text("hydra: {}\n")
        _write_run(path / str(job), sweep, job, variants[number % VARIANTS])


def _write_run(folder: Path, sweep: int, job: int, variant: _Variant) -> None:
    (folder / ".hydra").mkdir(parents=True)
    typed = {"seed": job % 5, "intervention.direction": ("denoise", "noise")[job // 5 % 2], "task.n": 16 + job // 10}
    model = MODELS[sweep % len(MODELS)]
    overrides = "".join(f"- {key}={value}\n" for key, value in ({"model": model} | typed).items())
    (folder / ".hydra" / "overrides.yaml").write_text(overrides)
    (folder / "config.yaml").write_text(yaml_text(_config(model, typed)))
    updated = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_767_225_600 + 3600 * sweep + job))
    status: dict[str, Any] = {"status": "done", "started": updated, "updated": updated, "headline": "best_recovery"}
    if job % 100 == 50:
        status |= {"status": "failed", "error": f"intervention.layer: got {job}, expected 0 to {LAYERS - 1} ({model})"}
    else:
        for name, content in variant.files.items():
            (folder / name).write_bytes(content)
        identity = {"config": str(folder.name), "code": "synthetic", "files": "none", "weights": model}
        (folder / "provenance.json").write_text(json.dumps({"seconds": 1.5 + job % 7, "identity": identity}))
        status["files"] = {name: {"bytes": len(content), "sha256": ""} for name, content in variant.files.items()}
    (folder / "status.json").write_text(json.dumps(status))
    if job % 100 == 75:
        (folder / "metrics.json").unlink()


def _config(model: str, typed: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model": {
            "name": model,
            "source": "tiny",
            "path": model,
            "revision": None,
            "device": "auto",
            "dtype": "float32",
        },
        "task": {"_target_": "ioi_lab.tasks.ioi.IOITask", "name": "ioi", "n": PROMPTS, "seed": 0, "corruption": "s2"},
        "intervention": {"_target_": "ioi_lab.interventions.patch.Patch", "name": "patch", "component": "z"}
        | {"layer": "all", "head": "all", "position": "all", "sets": "each", "direction": "denoise"},
        "tracker": {"name": "none"},
        "name": "synthetic",
        "seed": 0,
        "resume": True,
        "figures": True,
        "engine": {"memory_gb": "auto", "readout": "full"},
    }
    for key, value in typed.items():
        group, _, last = key.rpartition(".")
        (config[group] if group else config)[last] = value
    return config


def _results(rng: np.random.Generator) -> pd.DataFrame:
    layer, head = np.divmod(np.arange(LAYERS * HEADS), HEADS)
    recovery = rng.normal(0.1, 0.3, LAYERS * HEADS).round(4)
    columns: dict[str, Any] = {"component": "z", "layer": layer, "head": head, "position": "all", "scale": np.nan}
    for name, values in (("logit_diff", 10 * recovery - 5), ("recovery", recovery), ("accuracy", np.abs(recovery))):
        columns |= {name: values, f"{name}_low": values - 0.05, f"{name}_high": values + 0.05}
    p_value = np.exp(-8 * np.abs(recovery))
    return pd.DataFrame(columns | {"p_value": p_value, "p_adjusted": np.minimum(1, 2 * p_value)})


def _prompts() -> pd.DataFrame:
    texts = [f"When Mary and John went to store {number}, John gave a drink to" for number in range(PROMPTS)]
    columns = {"clean": texts, "corrupt": [text.replace(", John", ", Mary") for text in texts]}
    return pd.DataFrame(columns | {"answer": " Mary", "distractor": " John"})


def _per_prompt(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    rows, prompts = np.divmod(np.arange(len(table) * PROMPTS), PROMPTS)
    values = table["logit_diff"].to_numpy()[rows] + rng.normal(0, 0.5, len(rows))
    columns: dict[str, Any] = {"row": rows, "prompt": prompts, "logit_diff": values}
    return pd.DataFrame(columns | {"clean_logit_diff": 5.0, "corrupted_logit_diff": -5.0})


if __name__ == "__main__":
    main()
