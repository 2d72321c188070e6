"""The life of a run: claim its folder, measure, write the report, track it.

torch is imported only after everything that the config alone can tell has been checked.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from omegaconf import DictConfig

from ioi_lab.errors import LabError, called, explained
from ioi_lab.jobs.resolving import resolve
from ioi_lab.models.libraries import import_libraries
from ioi_lab.models.loading import ModelConfig, checksums_of
from ioi_lab.programs import typed_command
from ioi_lab.runs.code import modules_named_in
from ioi_lab.runs.figure_files import FigureFiles
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.identity import check_unchanged, identity_of, why_again
from ioi_lab.runs.job_tracking import TrackedJob
from ioi_lab.runs.provenance import environment
from ioi_lab.runs.reading import read_run, read_status
from ioi_lab.runs.resume import earlier_run
from ioi_lab.runs.tracking import TrackerConfig, import_client, track
from ioi_lab.storage.files import yaml_text

if TYPE_CHECKING:
    from ioi_lab.reports.report import Report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a job hands over to be written: its report, and the provenance of its numbers."""

    report: Report
    provenance: dict[str, Any]
    failure: LabError | None = None
    """An error that is raised once the report has been written: a part of the job has failed, and the run with it."""


class Job(ABC):
    """The checked config of an entry point, and the work that it asks for."""

    COMMAND: ClassVar[str]
    """The subcommand of `ioi-lab` that runs such jobs."""

    MODULES: ClassVar[frozenset[str]] = frozenset()
    """Modules that take part in measuring and are imported by none of the job's own."""

    tracker: TrackerConfig
    figures: FigureFiles
    """Whether figures are drawn, and the formats of their files."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], given: Mapping[str, ModelConfig]) -> Self:
        """Check a resolved config; raises a `LabError` that names the first wrong key.

        `given` has models that are loaded already, by the config group that they stand for.
        """

    @property
    @abstractmethod
    def title(self) -> str:
        """The name of the run, such as `patch z · tiny-gpt2 · ioi`."""

    @property
    def subject(self) -> str:
        """The title without the task, such as `patch z · tiny-gpt2`."""
        return self.title

    @property
    @abstractmethod
    def kind(self) -> str:
        """The kind of work: the name of the intervention, or `align`."""

    @property
    @abstractmethod
    def tags(self) -> tuple[str, ...]:
        """The names of the models and of the task."""

    @property
    @abstractmethod
    def models(self) -> Mapping[str, ModelConfig]:
        """All models that the job needs, by their keys in the config."""

    @property
    def named(self) -> Mapping[str, Mapping[str, Any]]:
        """The configs of options that the job's own config has by their names alone: results depend on them."""
        return {}

    @abstractmethod
    def measure(self, folder: Path) -> Outcome:
        """Do the work; `folder` is for files that must outlive an interruption."""


class PreparedJob:
    """A job before it is run: its config is resolved and checked when it is first asked for."""

    syncs_files: ClassVar[bool] = True
    """Whether each file of the run is on the device before the next is written."""

    def __init__(self, config: DictConfig, kind: type[Job], given: Mapping[str, ModelConfig] | None = None) -> None:
        self._config = config
        self._given = given or {}
        self.kind = kind

    @classmethod
    def of(cls, resolved: dict[str, Any], kind: type[Job], given: Mapping[str, ModelConfig]) -> Self:
        """Return the job of a config that is resolved already, as `resolve` does."""
        prepared = cls(DictConfig({}), kind, given)
        prepared.resolved = resolved
        return prepared

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The config as plain values; raises a `LabError` for a key without a value."""
        return resolve(self._config)

    @cached_property
    def job(self) -> Job:
        """The checked job; raises a `LabError` that names the first wrong key."""
        return self.kind.from_config(self.resolved, self._given)

    @cached_property
    def modules(self) -> frozenset[str]:
        """The modules of the job, of its parts, and of the classes and functions that its config names."""
        own = {type(part).__module__ for part in (self.job, *vars(self.job).values())}
        named = modules_named_in([self.resolved, dict(self.job.named)])
        return frozenset({*own, *self.kind.MODULES, *named})

    def identity(self) -> dict[str, str]:
        """Return checksums of everything that results depend on, as it is now."""
        checksums = []
        for key, model in self.job.models.items():
            with called("model", key):
                checksums.append(checksums_of(model))
        config = self.resolved | {"figures": list(self.job.figures.written)}  # however they are asked for
        config |= {"named": dict(named)} if (named := self.job.named) else {}
        weights, model_files = " ".join(each.weights for each in checksums), " ".join(each.files for each in checksums)
        return identity_of(config, self.modules, weights, model_files)

    def outcome(self, folder: Path, identity: Mapping[str, str]) -> Outcome:
        """Do the work of the job with this identity."""
        return self.job.measure(folder)


def run_job(
    prepared: PreparedJob, folder: Path, sweep: Path | None = None, *, announce: bool = True
) -> dict[str, float]:
    """Run a job into `folder`, unless it is done already, and track it; returns its metrics.

    Args:
        prepared: The job.
        folder: The run folder.
        sweep: The folder of the sweep, or of the study, that the run belongs to.
        announce: Whether the summary is printed.

    Raises:
        Exception: Any error of the work is raised again after the folder has been marked as failed.

    """
    if sweep is None:
        prepared.job  # noqa: B018  # a mistake in the config of a single run leaves no folder
    run = RunFolder(folder, sync=prepared.syncs_files)
    with run.locked():
        with _failures_marked(run, lambda: _track_failure(run, prepared, sweep)):
            identity = _claim(run, prepared, sweep if prepared.resolved.get("resume") is True else None, announce)
            if identity is not None:
                if is_to_be_tracked(prepared.job, run, sweep):
                    import_client(prepared.job.tracker)
                import_libraries()
                outcome = prepared.outcome(run.path, identity)
                check_unchanged(identity, prepared.identity())
                _write(run, prepared, outcome, identity, announce)
        if is_to_be_tracked(prepared.job, run, sweep):
            _track(run, prepared, sweep)
        return run.metrics()


def is_to_be_tracked(job: Job, run: RunFolder, sweep: Path | None) -> bool:
    """Return whether a finished run of the job is still to be logged to a dashboard."""
    is_wanted = job.tracker.name != "none" and (sweep is None or job.tracker.runs == "job")
    return is_wanted and not run.is_tracked


@contextmanager
def _failures_marked(run: RunFolder, track_failure: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        failure = explained(error)
        run.fail(failure)
        track_failure()
        if failure is error:
            raise
        raise failure from error


def _claim(run: RunFolder, prepared: PreparedJob, sweep: Path | None, announce: bool) -> dict[str, str] | None:
    """Start the run in its folder and return the job's identity; None if the folder has its results already.

    They are there if this job is done, or if an earlier run of the `sweep`'s name that did the same is taken over.
    """
    where = os.path.relpath(run.path)
    there = None if sweep is None else read_run(run.path, contents=True)
    was_done = there is not None and there.status.get("status") == "done"
    if not was_done:
        _start(run, prepared)
    identity = prepared.identity()
    if there is not None and was_done:
        reason = why_again(there, identity)
        if reason is None:
            log.log(_level(announce), "%s is done already", where)
            return None
        log.warning("%s: %s, so it is run again", where, reason)
        _start(run, prepared)
    earlier = earlier_run(sweep, identity) if sweep is not None else None
    if earlier is not None and run.take_over(earlier, identity):
        log.info("%s is taken from %s", where, os.path.relpath(earlier))
        return None
    return identity


def _start(run: RunFolder, prepared: PreparedJob) -> None:
    run.start(yaml_text(prepared.resolved), typed_command(prepared.kind.COMMAND))


def _write(
    run: RunFolder, prepared: PreparedJob, outcome: Outcome, identity: Mapping[str, str], announce: bool
) -> None:
    """Write the report into the run folder, mark it as done and print the summary.

    Raises the failure of the outcome instead of marking the folder as done, if it has one.
    """
    job = prepared.job
    report = replace(outcome.report, summary=[job.title, *outcome.report.summary])
    run.write_report(report, figures=job.figures.written)
    own = {"identity": identity, "modules": sorted(prepared.modules)}
    run.finish({**outcome.provenance, **report.provenance, **environment(), **own}, is_done=outcome.failure is None)
    for line in [*report.summary, f"results: {os.path.relpath(run.path)}"]:
        log.log(_level(announce), line)
    if outcome.failure is not None:
        raise outcome.failure


def _level(announce: bool) -> int:
    return logging.INFO if announce else logging.DEBUG


def _track(run: RunFolder, prepared: PreparedJob, sweep: Path | None) -> None:
    where = track(_as_tracked(prepared, sweep).finished(run), prepared.job.tracker)
    if where is not None:
        run.record_tracked(where)


def _track_failure(run: RunFolder, prepared: PreparedJob, sweep: Path | None) -> None:
    """Show a job that has failed on the dashboard; one whose config is wrong has no tracker yet."""
    status = read_status(run.path)
    try:
        job = prepared.job
    except Exception:
        return
    if status.get("status") == "failed" and is_to_be_tracked(job, run, sweep):
        track(_as_tracked(prepared, sweep).failed(run, str(status.get("error"))), job.tracker)


def _as_tracked(prepared: PreparedJob, sweep: Path | None) -> TrackedJob:
    job = prepared.job
    return TrackedJob(job.title, job.subject, job.kind, job.tags, prepared.resolved, sweep)
