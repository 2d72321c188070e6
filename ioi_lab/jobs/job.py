"""The life of a run: claim its folder, measure, write the report, track it.

torch is imported only after everything that the config alone can tell has been checked.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ioi_lab.config import check_targets, may_name_file
from ioi_lab.errors import LabError, called, explained
from ioi_lab.models.loading import ModelConfig, model_files_of, weights_of
from ioi_lab.runs.code import modules_named_in
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.identity import PATH_KEYS, check_unchanged, identity_of, why_again
from ioi_lab.runs.provenance import environment
from ioi_lab.runs.reading import read_run
from ioi_lab.runs.resume import earlier_run
from ioi_lab.runs.tracking import FinishedRun, TrackerConfig, track
from ioi_lab.storage.files import yaml_text
from ioi_lab.terminal import printable

if TYPE_CHECKING:
    from ioi_lab.reports.report import Report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a job hands over to be written: its report, and the provenance of its numbers."""

    report: Report
    provenance: dict[str, Any]


class Job(ABC):
    """The checked config of an entry point, and the work that it asks for."""

    COMMAND: ClassVar[str]
    """The script of the entry point."""

    MODULES: ClassVar[frozenset[str]] = frozenset()
    """Modules that take part in measuring and are imported by none of the job's own."""

    tracker: TrackerConfig
    figures: bool
    """Whether figures are drawn."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Check a resolved config; raises a `LabError` that names the first wrong key."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The name of the run, such as `patch z · tiny-gpt2 · ioi`."""

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

    @abstractmethod
    def measure(self, folder: Path) -> Outcome:
        """Do the work; `folder` is for files that must outlive an interruption."""


class PreparedJob:
    """A job before it is run: its config is resolved and checked when it is first asked for."""

    def __init__(self, config: DictConfig, kind: type[Job]) -> None:
        self._config = config
        self.kind = kind
        self.was_done = False
        """Whether all that it would do was done when it was prepared."""

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The config as plain values; raises a `LabError` for a key without a value."""
        return resolve(self._config)

    @cached_property
    def job(self) -> Job:
        """The checked job; raises a `LabError` that names the first wrong key."""
        return self.kind.from_config(self.resolved)

    @cached_property
    def modules(self) -> frozenset[str]:
        """The modules of the job, of its parts, and of the classes and functions that its config names."""
        own = {type(part).__module__ for part in (self.job, *vars(self.job).values())}
        return frozenset({*own, *self.kind.MODULES, *modules_named_in(self.resolved)})

    def identity(self) -> dict[str, str]:
        """Return checksums of everything that results depend on, as it is now."""
        weights, model_files = [], []
        for key, model in self.job.models.items():
            with called("model", key):
                weights.append(weights_of(model))
                model_files.append(model_files_of(model))
        return identity_of(self.resolved, self.modules, " ".join(weights), " ".join(model_files))

    def outcome(self, folder: Path, identity: Mapping[str, str]) -> Outcome:
        """Do the work of the job with this identity."""
        return self.job.measure(folder)


def run_job(prepared: PreparedJob, folder: Path, sweep: Path | None = None) -> dict[str, float]:
    """Run a job into `folder`, unless it is done already, and track it; returns its metrics.

    Args:
        prepared: The job.
        folder: The run folder.
        sweep: The folder of the sweep that the run belongs to.

    Raises:
        Exception: Any error of the work is raised again after the folder has been marked as failed.

    """
    if sweep is None:
        prepared.job  # noqa: B018  # a mistake in the config of a single run leaves no folder
    run = RunFolder(folder)
    with run.locked():
        with _failures_marked(run):
            identity = _claim(run, prepared, sweep if prepared.resolved.get("resume") is True else None)
            if identity is not None:
                outcome = prepared.outcome(run.path, identity)
                check_unchanged(identity, prepared.identity())
                _write(run, prepared, outcome, identity)
        if is_to_be_tracked(prepared.job, run, sweep):
            _track(run, prepared, sweep)
        return run.metrics()


def is_to_be_tracked(job: Job, run: RunFolder, sweep: Path | None) -> bool:
    """Return whether a finished run of the job is still to be logged to a dashboard."""
    is_wanted = job.tracker.name != "none" and (sweep is None or job.tracker.runs == "job")
    return is_wanted and not run.is_tracked


@contextmanager
def _failures_marked(run: RunFolder) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        failure = explained(error)
        run.fail(failure)
        if failure is error:
            raise
        raise failure from error


def _claim(run: RunFolder, prepared: PreparedJob, sweep: Path | None) -> dict[str, str] | None:
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
            log.info("%s is done already", where)
            return None
        log.warning("%s: %s, so it is run again", where, reason)
        _start(run, prepared)
    earlier = earlier_run(sweep, identity) if sweep is not None else None
    if earlier is not None and run.take_over(earlier, identity):
        log.info("%s is taken from %s", where, os.path.relpath(earlier))
        return None
    return identity


def _start(run: RunFolder, prepared: PreparedJob) -> None:
    run.start(yaml_text(prepared.resolved), prepared.kind.COMMAND)


def _write(run: RunFolder, prepared: PreparedJob, outcome: Outcome, identity: Mapping[str, str]) -> None:
    """Write the report into the run folder, mark it as done and print the summary."""
    job, report = prepared.job, outcome.report
    run.write_report(report, figures=job.figures)
    own = {"identity": identity, "modules": sorted(prepared.modules)}
    run.finish({**outcome.provenance, **report.provenance, **environment(), **own})
    for line in [job.title, *report.summary, f"results: {os.path.relpath(run.path)}"]:
        log.info(line)


def _track(run: RunFolder, prepared: PreparedJob, sweep: Path | None) -> None:
    job = prepared.job
    finished = FinishedRun(
        folder=run.path,
        title=printable(job.title),  # W&B prints it
        job_type=job.kind,
        sweep=sweep,
        tags=job.tags,
        config=prepared.resolved,
        metrics=run.metrics(),
        table=run.table(),
        media=run.media(),
    )
    where = track(finished, job.tracker)
    if where is not None:
        run.record_tracked(where)


def resolve(config: DictConfig) -> dict[str, Any]:
    """Return a config, without Hydra's own part, as plain values with every interpolation resolved.

    Raises a `LabError` for a key that has no value yet, and for a `_target_` that may not be used.
    """
    try:
        resolved = {str(key): _as_plain(config[key]) for key in config if key != "hydra"}
    except MissingMandatoryValue as error:
        raise LabError(f"{error.full_key}: this key has no value yet; give one with {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        raise LabError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    check_targets(resolved)
    _make_paths_absolute(resolved)
    return resolved


def _as_plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _make_paths_absolute(group: dict[Any, Any]) -> None:
    """Make paths absolute, so that the config in the run folder can be run again from anywhere."""
    for key, value in group.items():
        if isinstance(value, dict):
            _make_paths_absolute(value)
        elif key in PATH_KEYS and isinstance(value, str) and _names_file(group, key):
            path = os.path.expanduser(value)
            group[key] = os.path.realpath(path) if os.path.exists(path) else value


def _names_file(group: dict[Any, Any], key: str) -> bool:
    """Whether a key names a file or folder, and not something on the hub, in the package, or of an earlier version."""
    return group.get("source") not in ("hub", "tiny") and may_name_file(group, key)
