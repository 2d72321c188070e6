"""The jobs of a sweep measured with shared passes, before each is run into its folder."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from omegaconf import DictConfig
from typing_extensions import override

from ioi_lab.jobs.experiment import Experiment, Measured
from ioi_lab.jobs.job import Outcome, PreparedJob, is_to_be_tracked
from ioi_lab.models.libraries import import_libraries
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.identity import why_again
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import read_run, read_typed
from ioi_lab.runs.resume import earlier_run

log = logging.getLogger(__name__)


class BatchedJob(PreparedJob):
    """An experiment that is measured before it is run: then only its report is missing."""

    job: Experiment
    syncs_files = False  # the launcher waits for the files of a whole wave; a file that is lost makes its run damaged

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


class WaveJob(NamedTuple):
    """A job that is still to be run."""

    config: DictConfig
    folder: Path
    prepared: PreparedJob | None
    """None for a job whose config is wrong, which it will report itself."""


def measure_batch(configs: Iterable[DictConfig]) -> list[WaveJob | None]:
    """Measure jobs, given their configs as Hydra composes them, with passes shared by those on the same prompts.

    Returns:
        The jobs, in order; those that do not gain by sharing passes are not measured. None stands for a job that is
        done and leaves nothing to do, whose config is not kept: a sweep can have thousands of them.

    """
    again: Counter[str] = Counter()
    jobs: list[WaveJob | None] = []
    groups: dict[str, list[BatchedJob]] = defaultdict(list)
    for config in configs:
        prepared = _prepared(config)
        sweep = config.hydra.sweep
        folder = Path(sweep.dir).absolute() / str(sweep.subdir)
        step = "run" if prepared is None else _next_step(prepared, folder, config, again)
        jobs.append(None if step == "nothing" else WaveJob(config, folder, prepared))
        if prepared is not None and step == "measure":
            groups[repr((prepared.job.model, prepared.job.task, prepared.job.keys.engine))].append(prepared)
    if n_done := sum(job is None for job in jobs):
        log.info("%d of %d jobs are done already", n_done, len(jobs))
    for reason, count in again.items():  # the message of each job is in the log of its folder alone
        log.warning("%d of the jobs that are done are run again: %s", count, reason)
    for group in groups.values():
        started = time.perf_counter()
        _measure_together(group)
        seconds = time.perf_counter() - started
        log.info("measured %d jobs on %s together in %.1f s", len(group), group[0].job.model.label, seconds)
    return jobs


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


def _next_step(
    prepared: BatchedJob, folder: Path, config: DictConfig, again: Counter[str]
) -> Literal["nothing", "measure", "run"]:
    """Return what is still to be done for a job; `again` counts why finished ones are measured again."""
    if prepared.job.keys.resume:
        earlier = read_run(folder, contents=True)
        if earlier.status.get("status") == "done":
            reason = why_again(earlier, prepared.identity_before)
            if reason is None:
                return "nothing" if _leaves_nothing_to_do(prepared, earlier.folder, config) else "run"
            again[reason] += 1
        if earlier_run(Path(config.hydra.sweep.dir).absolute(), prepared.identity_before) is not None:
            return "run"
    return "measure" if prepared.job.intervention.shares_passes else "run"


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
    import_libraries()
    from ioi_lab.jobs.shared_passes import run_sharing_passes

    finished = run_sharing_passes([prepared.job.measured for prepared in jobs])
    for prepared, end in zip(jobs, finished, strict=True):
        prepared.measured = end.result  # None after an error, which the job will meet again in its own folder
