"""The jobs of a sweep measured together, before each is run as usual."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from ioi_lab import experiment
from ioi_lab.experiment import Experiment, Prepared, resolve
from ioi_lab.identity import identity_of, why_again
from ioi_lab.runs import earlier_run, is_done

log = logging.getLogger(__name__)


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
    groups: dict[str, dict[Path, Prepared]] = defaultdict(dict)
    again: Counter[str] = Counter()
    for config in configs:
        folder = Path(config.hydra.sweep.dir).absolute() / config.hydra.sweep.subdir
        prepared = _to_do(config, folder, again)
        if prepared is not None:
            job = prepared.job
            groups[repr((job.model, job.task, job.root.engine))][folder] = prepared
    for reason, count in again.items():  # what each job has to say is in the log of its folder alone
        log.warning("%d of the jobs that are done are run again: %s", count, reason)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        label = next(iter(group.values())).job.model.label
        log.info("measured %d jobs on %s together in %.1f s", len(group), label, seconds)


def _to_do(config: DictConfig, folder: Path, again: Counter[str]) -> Prepared | None:
    """The job for `folder`, if it is still to be measured; `again` counts why some that are done are to be as well."""
    if "intervention" not in config:  # of train_align.py
        return None
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
        if job.root.resume and earlier_run(Path(config.hydra.sweep.dir).absolute(), identity) is not None:
            return None
        return Prepared(resolved, job, identity)
    except Exception:
        return None  # it will say so itself, in its own folder


def _measure_together(jobs: Mapping[Path, Prepared]) -> None:
    from ioi_lab.engine.together import together

    outcomes = together([prepared.job.measured for prepared in jobs.values()])
    for (folder, prepared), outcome in zip(jobs.items(), outcomes, strict=True):
        if outcome.result is not None:  # else it will fail by itself, in its own folder
            experiment.ahead[folder] = replace(prepared, measured=outcome.result)
