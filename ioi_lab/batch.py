"""The jobs of a sweep measured together, before each is run as usual."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ioi_lab import experiment
from ioi_lab.experiment import Experiment, differences, equal_run, resolve, what_was
from ioi_lab.runs import is_done

log = logging.getLogger(__name__)


def measure_ahead(configs: Sequence[DictConfig]) -> None:
    """Measure what jobs that share a model and a task have to measure, given their configs as Hydra composes them.

    A job that is done, whose edits are not to be pooled or that has a mistake is left to itself.
    """
    experiment.ahead.clear()
    groups: dict[str, list[Experiment]] = defaultdict(list)
    again: Counter[str] = Counter()
    for config in configs:
        job = _experiment(config, again)
        if job is not None and job.intervention.pools_edits:
            groups[repr((job.model, job.task, job.root.engine))].append(job)
    for reason, count in again.items():  # what each job has to say is in the log of its folder alone
        log.warning("%d of the jobs that are done are run again: %s", count, reason)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        log.info("measured %d jobs on %s together in %.1f s", len(group), group[0].model.label, seconds)


def _experiment(config: DictConfig, again: Counter[str]) -> Experiment | None:
    """The job's experiment, if it is still to be measured; `again` counts why some that are done are to be as well."""
    if "intervention" not in config:  # of train_align.py
        return None
    folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
    try:
        resolved = resolve(config)
        job = Experiment.from_config(resolved)
        if job.root.resume and is_done(folder):
            different = differences(folder, job, resolved)
            if not different:
                return None
            again[what_was(different)] += 1
        return None if job.root.resume and equal_run(folder, job, resolved) is not None else job
    except Exception:
        return None  # it will say so itself, in its own folder


def _measure_together(jobs: Sequence[Experiment]) -> None:
    from ioi_lab.engine.together import together

    outcomes = together([job.measured for job in jobs])
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.result is not None:  # else it will fail by itself, in its own folder
            experiment.ahead[job] = outcome.result
