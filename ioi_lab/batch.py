"""The jobs of a sweep measured together, before each is run as usual."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ioi_lab import experiment
from ioi_lab.experiment import Experiment, Prepared, resolve
from ioi_lab.identity import identity_of, why_again
from ioi_lab.runs import earlier_run, is_done

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToDo:
    """A job that is still to be measured."""

    folder: Path
    resolved: dict[str, Any]
    job: Experiment
    identity: dict[str, str]


@contextmanager
def measured_ahead(configs: Sequence[DictConfig]) -> Iterator[None]:
    """What jobs that share a model and a task have to measure is done, given their configs as Hydra composes them.

    A job that is done, whose edits are not to be pooled or that has a mistake is left to itself.
    """
    _measure(configs)
    try:
        yield
    finally:
        experiment.ahead.clear()


def _measure(configs: Sequence[DictConfig]) -> None:
    groups: dict[str, list[ToDo]] = defaultdict(list)
    again: Counter[str] = Counter()
    for config in configs:
        to_do = _to_do(config, again)
        if to_do is not None:
            groups[repr((to_do.job.model, to_do.job.task, to_do.job.root.engine))].append(to_do)
    for reason, count in again.items():  # what each job has to say is in the log of its folder alone
        log.warning("%d of the jobs that are done are run again: %s", count, reason)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        log.info("measured %d jobs on %s together in %.1f s", len(group), group[0].job.model.label, seconds)


def _to_do(config: DictConfig, again: Counter[str]) -> ToDo | None:
    """The job, if it is still to be measured; `again` counts why some that are done are to be as well."""
    if "intervention" not in config:  # of train_align.py
        return None
    sweep = Path(config.hydra.sweep.dir).absolute()
    folder = sweep / config.hydra.sweep.subdir
    try:
        resolved = resolve(config)
        job = Experiment.from_config(resolved)
        if not job.intervention.pools_edits:
            return None
        identity = identity_of(resolved, job.models)
        if job.root.resume and is_done(folder):
            reason = why_again(folder, identity)
            if reason is None:
                return None
            again[reason] += 1
        if job.root.resume and earlier_run(sweep, identity) is not None:
            return None
        return ToDo(folder, resolved, job, identity)
    except Exception:
        return None  # it will say so itself, in its own folder


def _measure_together(jobs: Sequence[ToDo]) -> None:
    from ioi_lab.engine.together import together

    outcomes = together([to_do.job.measured for to_do in jobs])
    for to_do, outcome in zip(jobs, outcomes, strict=True):
        if outcome.result is not None:  # else it will fail by itself, in its own folder
            prepared = Prepared(to_do.resolved, to_do.job, to_do.identity, outcome.result)
            experiment.ahead[to_do.folder] = prepared
