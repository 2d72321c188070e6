"""`lab.run`, `lab.sweep`, `lab.align` and what reads their folders.

The tracker is the command line's: Weights & Biases, offline without a login; `tracker="none"` leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_lab.python.given import separated
from ioi_lab.python.overrides import overrides_of
from ioi_lab.python.results import Run, Sweep
from ioi_lab.python.session import run_job_in_process, run_sweep_in_process
from ioi_lab.runs import table as run_tables
from ioi_lab.runs.finding import RUNS, find_run, folder_of_runs

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from ioi_lab.jobs.job import PreparedJob
    from ioi_lab.models.loading import ModelConfig

_SWEEP, _ALIGN, _STUDY = "sweep", "train_align", "study"


def run(*overrides: str, **keywords: Any) -> Run:
    """Run one experiment, as `sweep.py` does, into `runs/<name>/<time>`; returns it when it is done.

    Args:
        *overrides: Overrides as they are typed on the command line: `"task.n=32"`.
        **keywords: Config groups and keys: `model="tiny-gpt2"`, `task={"n": 32}`, `seed=1`. In a dictionary, `name`
            picks the option. `model` may also be a loaded model: see `ioi_lab.models.given.given_model`.

    Raises:
        LabError: What the command line would print, in one line.

    """
    words, given = separated(keywords, ("model",))
    return Run(run_job_in_process(_experiment, _SWEEP, [*overrides_of(overrides, words, _SWEEP)], given))


def sweep(*overrides: str, **keywords: Any) -> Sweep:
    """Run a grid of experiments, as `sweep.py -m` does: `sweep(intervention={"layer": grid(0, 1, 2)})`.

    Values separated by commas in an override, or in a `grid`, get runs of their own. The jobs run in this process and
    share passes (`hydra/launcher=batch`). The same call again goes on where the last one ended, and skips what is done.
    A job that fails is printed, and is in the table with its error.

    Raises a `LabError` like `run`.
    """
    words, given = separated(keywords, ("model",))
    return Sweep(run_sweep_in_process(_experiment, _SWEEP, overrides_of(overrides, words, _SWEEP, sweeps=True), given))


def study(*overrides: str, **keywords: Any) -> Run:
    """Run a study: how a model does a task, as `ioi-lab study` does; the same call again goes on where it ended.

    Its `table` has a row per step, and `run.folder / "02-heads"` is the run of a step: see `load`. `model` and `source`
    are models like `model` in `run`. Keys of a step: `study(steps={"circuit": {"intervention": {"scores": "eap"}}})`.

    Raises a `LabError` like `run`, and for a study in which a step has failed.
    """
    words, given = separated(keywords, ("model", "source"))
    return Run(run_job_in_process(_study, _STUDY, overrides_of(overrides, words, _STUDY), given))


def align(*overrides: str, **keywords: Any) -> Run:
    """Fit maps between the residual streams of two models, as `train_align.py` does.

    `source` and `target` are models like `model` in `run`; `corpus` and `alignment` are config groups. The maps are
    in the run's folder (`maps.safetensors`): `run(intervention={"name": "transfer", "maps": alignment.folder})` uses
    them.

    Raises a `LabError` like `run`.
    """
    words, given = separated(keywords, ("source", "target"))
    return Run(run_job_in_process(_alignment, _ALIGN, overrides_of(overrides, words, _ALIGN), given))


def load(place: str | Path = "latest") -> Run:
    """Return a finished run: that in a run folder, the latest of a name (`runs/demo`), or the latest of all.

    Raises a `LabError` for a folder without one.
    """
    return Run.read(find_run(place))


def load_sweep(place: str | Path) -> Sweep:
    """Return the sweep in a folder, or all runs in it as one; raises a `LabError` if there are none."""
    folder = folder_of_runs(place)
    run_tables.read_runs(folder)
    return Sweep(folder)


def load_runs(place: str | Path = RUNS) -> pd.DataFrame:
    """Return a table of all runs in a folder and below it, with their configs and metrics.

    See `ioi_lab.runs.table.load_runs`. Raises a `LabError` if there are none.
    """
    return run_tables.load_runs(folder_of_runs(place))


def _experiment(config: DictConfig, given: Mapping[str, ModelConfig]) -> PreparedJob:
    from ioi_lab.jobs.experiment import prepare_experiment

    return prepare_experiment(config, given)


def _study(config: DictConfig, given: Mapping[str, ModelConfig]) -> PreparedJob:
    from ioi_lab.studies.study import prepare_study

    return prepare_study(config, given)


def _alignment(config: DictConfig, given: Mapping[str, ModelConfig]) -> PreparedJob:
    from ioi_lab.jobs.alignment import prepare_alignment

    return prepare_alignment(config, given)
