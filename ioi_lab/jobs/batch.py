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
from ioi_lab.jobs.job import Outcome, PreparedJob
from ioi_lab.runs.folder import is_done
from ioi_lab.runs.identity import why_again
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
        The measured jobs, in order. None stands for a job that is to be run from its config: one that is done, that
        does not gain by sharing passes, or whose config is wrong, which it will report itself.

    """
    again: Counter[str] = Counter()
    jobs = [_to_measure(config, again) for config in configs]
    for reason, count in again.items():  # the message of each job is in the log of its folder alone
        log.warning("%d of the jobs that are done are run again: %s", count, reason)
    groups: dict[str, list[BatchedJob]] = defaultdict(list)
    for job in filter(None, jobs):
        groups[repr((job.job.model, job.job.task, job.job.keys.engine))].append(job)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        log.info("measured %d jobs on %s together in %.1f s", len(group), group[0].job.model.label, seconds)
    return list(jobs)


def _to_measure(config: DictConfig, again: Counter[str]) -> BatchedJob | None:
    """Return the job of a config if it is still to be measured; `again` counts why finished ones are measured again."""
    if "intervention" not in config:  # a config of train_align.py
        return None
    sweep = Path(config.hydra.sweep.dir).absolute()
    folder = sweep / config.hydra.sweep.subdir
    try:
        prepared = BatchedJob(config)
        if not prepared.job.intervention.shares_passes:
            return None
        identity = prepared.identity_before
        if prepared.job.keys.resume and is_done(folder):
            reason = why_again(folder, identity)
            if reason is None:
                return None
            again[reason] += 1
        if prepared.job.keys.resume and earlier_run(sweep, identity) is not None:
            return None
        return prepared
    except Exception:
        return None  # the job will report its mistake itself, in its own folder


def _measure_together(jobs: Sequence[BatchedJob]) -> None:
    from ioi_lab.jobs.shared_passes import run_sharing_passes

    finished = run_sharing_passes([prepared.job.measured for prepared in jobs])
    for prepared, end in zip(jobs, finished, strict=True):
        prepared.measured = end.result  # None after an error, which the job will meet again in its own folder
