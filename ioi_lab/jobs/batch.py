"""The jobs of a sweep measured with shared passes, before each is run into its folder."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from omegaconf import DictConfig
from typing_extensions import override

from ioi_lab.jobs.experiment import Experiment, Measured
from ioi_lab.jobs.job import Outcome, PreparedJob, is_to_be_tracked
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.identity import why_again
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import read_run, read_typed
from ioi_lab.runs.resume import earlier_run

log = logging.getLogger(__name__)


class BatchedJob(PreparedJob):
    """An experiment that is measured before it is run: then only its report is missing."""

    job: Experiment

    def __init__(self, config: DictConfig) -> None:
        super().__init__(config, Experiment)
        self.measured: Measured | None = None

    @cached_property
    def identity_before(self) -> dict[str, str]:
        """The identity before the job is measured."""
        return self.identity()

    @override
    def outcome(self, folder: Path, identity: Mapping[str, str]) -> Outcome:
        if self.measured is not None and self.identity_before == identity:
            return self.job.outcome(self.measured)
        return super().outcome(folder, identity)


def measure_batch(configs: Sequence[DictConfig]) -> list[PreparedJob | None]:
    """Measure jobs, given their configs as Hydra composes them, with passes shared by those on the same prompts.

    Returns:
        The jobs, in order; those that are done, or that do not gain by sharing passes, are not measured. None stands
        for a job whose config is wrong, which it will report itself.

    """
    again: Counter[str] = Counter()
    jobs = [_prepared(config) for config in configs]
    groups: dict[str, list[BatchedJob]] = defaultdict(list)
    for config, job in zip(configs, jobs, strict=True):
        if job is not None and _is_to_be_measured(job, config, again):
            groups[repr((job.job.model, job.job.task, job.job.keys.engine))].append(job)
    if n_done := sum(job is not None and job.was_done for job in jobs):
        log.info("%d of %d jobs are done already", n_done, len(jobs))
    for reason, count in again.items():  # the message of each job is in the log of its folder alone
        log.warning("%d of the jobs that are done are run again: %s", count, reason)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        log.info("measured %d jobs on %s together in %.1f s", len(group), group[0].job.model.label, seconds)
    return list(jobs)


def _prepared(config: DictConfig) -> BatchedJob | None:
    """Return the checked job of a config, which knows its identity before it is measured."""
    if "intervention" not in config:  # a config of train_align.py
        return None
    try:
        prepared = BatchedJob(config)
        prepared.identity_before  # noqa: B018
        return prepared
    except Exception:
        return None  # the job will report its mistake itself, in its own folder


def _is_to_be_measured(prepared: BatchedJob, config: DictConfig, again: Counter[str]) -> bool:
    """Return whether a job is still to be measured with others; `again` counts why finished ones are measured again."""
    if not prepared.job.intervention.shares_passes:
        return False
    if not prepared.job.keys.resume:
        return True
    sweep = Path(config.hydra.sweep.dir).absolute()
    earlier = read_run(sweep / config.hydra.sweep.subdir, contents=True)
    if earlier.status.get("status") == "done":
        reason = why_again(earlier, prepared.identity_before)
        if reason is None:
            prepared.was_done = _leaves_nothing_to_do(prepared, earlier.folder, config)
            return False
        again[reason] += 1
    return earlier_run(sweep, prepared.identity_before) is None


def _leaves_nothing_to_do(prepared: BatchedJob, folder: Path, config: DictConfig) -> bool:
    """Return whether a finished job has no metric to hand to a search, is tracked, and has Hydra's record of it."""
    job = prepared.job
    if job.keys.optimize is not None or is_to_be_tracked(job, RunFolder(folder), folder.parent):
        return False
    try:
        return read_typed(folder) == list(config.hydra.overrides.task)
    except DamagedError:
        return False


def _measure_together(jobs: Sequence[BatchedJob]) -> None:
    from ioi_lab.jobs.shared_passes import run_sharing_passes

    finished = run_sharing_passes([prepared.job.measured for prepared in jobs])
    for prepared, end in zip(jobs, finished, strict=True):
        prepared.measured = end.result  # None after an error, which the job will meet again in its own folder
