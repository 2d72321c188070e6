"""The jobs of a sweep measured together, before each is run as usual."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ioi_lab import experiment
from ioi_lab.experiment import Experiment, resolve
from ioi_lab.runs import is_done

log = logging.getLogger(__name__)


def measure_ahead(configs: Sequence[DictConfig]) -> None:
    """Measure what jobs that share a model and a task have to measure, given their configs as Hydra composes them.

    A job that is done, whose edits are not to be pooled or that has a mistake is left to itself.
    """
    experiment.ahead.clear()
    groups: dict[str, list[Experiment]] = defaultdict(list)
    for config in configs:
        job = _experiment(config)
        if job is not None:
            groups[repr((job.model, job.task, job.root.engine))].append(job)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        log.info("measured %d jobs on %s together in %.1f s", len(group), group[0].model.label, seconds)


def _experiment(config: DictConfig) -> Experiment | None:
    if "intervention" not in config:  # of train_align.py
        return None
    folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    if config.resume is True and is_done(folder):
        return None
    try:
        job = Experiment.from_config(resolve(own))
    except Exception:
        return None  # it will say so itself, in its own folder
    return job if job.intervention.pools_edits else None


def _measure_together(jobs: Sequence[Experiment]) -> None:
    from ioi_lab.engine.together import together

    outcomes = together([job.measured for job in jobs])
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.result is not None:  # else it will fail by itself, in its own folder
            experiment.ahead[job] = outcome.result
