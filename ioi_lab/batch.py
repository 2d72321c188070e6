"""The jobs of a sweep measured together, before each is run as usual."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from ioi_lab import experiment
from ioi_lab.experiment import Experiment, resolve
from ioi_lab.identity import identity_of, why_again
from ioi_lab.runs import earlier_run, is_done

log = logging.getLogger(__name__)
Key = frozenset[tuple[str, str]]
"""A job's identity."""


def measure_ahead(configs: Sequence[DictConfig]) -> None:
    """Measure what jobs that share a model and a task have to measure, given their configs as Hydra composes them.

    A job that is done, whose edits are not to be pooled or that has a mistake is left to itself.
    """
    experiment.ahead.clear()
    groups: dict[str, dict[Key, Experiment]] = defaultdict(dict)
    again: Counter[str] = Counter()
    for config in configs:
        to_do = _to_do(config, again)
        if to_do is not None:
            key, job = to_do
            groups[repr((job.model, job.task, job.root.engine))][key] = job
    for reason, count in again.items():  # what each job has to say is in the log of its folder alone
        log.warning("%d of the jobs that are done are run again: %s", count, reason)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        label = next(iter(group.values())).model.label
        log.info("measured %d jobs on %s together in %.1f s", len(group), label, seconds)


def _to_do(config: DictConfig, again: Counter[str]) -> tuple[Key, Experiment] | None:
    """The job's experiment, if it is still to be measured; `again` counts why some that are done are to be as well."""
    if "intervention" not in config:  # of train_align.py
        return None
    sweep = Path(config.hydra.sweep.dir)
    folder = sweep / config.hydra.sweep.subdir
    try:
        resolved = resolve(config)
        job = Experiment.from_config(resolved)
        identity = identity_of(resolved, job.models)
        if not job.intervention.pools_edits:
            return None
        if job.root.resume and is_done(folder):
            reason = why_again(folder, identity)
            if reason is None:
                return None
            again[reason] += 1
        if job.root.resume and earlier_run(sweep, identity) is not None:
            return None
        return frozenset(identity.items()), job
    except Exception:
        return None  # it will say so itself, in its own folder


def _measure_together(jobs: Mapping[Key, Experiment]) -> None:
    from ioi_lab.engine.together import together

    outcomes = together([job.measured for job in jobs.values()])
    for key, outcome in zip(jobs, outcomes, strict=True):
        if outcome.result is not None:  # else it will fail by itself, in its own folder
            experiment.ahead[key] = outcome.result
