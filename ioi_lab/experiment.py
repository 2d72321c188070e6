"""One experiment from config to tracked result: compose → plan → execute → report → track.

torch is imported only after everything that the config alone can tell has been checked.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import Field

from ioi_lab.checks import baseline_lines, check_gap, checked_run
from ioi_lab.errors import LabError
from ioi_lab.files import yaml_text
from ioi_lab.identity import READ, check_unchanged, identity_of, sha256_of_named_files, why_again
from ioi_lab.interventions.base import Intervention, Measurement, Report
from ioi_lab.metrics import Bootstrap
from ioi_lab.models import ModelConfig
from ioi_lab.runs import RunFolder, earlier_run, environment, is_done
from ioi_lab.schema import LabConfig, instantiate
from ioi_lab.tasks.prompts import PromptPairs, Task
from ioi_lab.tracking import FinishedRun, TrackerConfig, name_of_sweep, track

if TYPE_CHECKING:
    from ioi_lab.engine import Engine
    from ioi_lab.models import LabModel

log = logging.getLogger(__name__)

_PATHS: Final = READ | {"resume_from"}
"""Keys that name a file or a folder."""


class EngineMemory(LabConfig):
    """What the engine may use."""

    memory_gb: Literal["auto"] | Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0)]


class EngineConfig(EngineMemory):
    """How the engine runs: its memory bound, and what is read of each run."""

    readout: Literal["full", "logit_diff"]


class Root(LabConfig):
    """The keys at the top of a config."""

    name: str = Field(min_length=1)
    seed: int = Field(ge=0)
    resume: bool
    figures: bool = True
    optimize: str | None = None
    engine: EngineConfig


class Job(ABC):
    """The checked config of an entry point, and the work that it asks for."""

    COMMAND: ClassVar[str]
    """The entry point."""

    tracker: TrackerConfig

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Check a resolved config; raises a `LabError` that names the first wrong key."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is done with what."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What is done."""

    @property
    @abstractmethod
    def tags(self) -> tuple[str, ...]:
        """With what it is done."""

    @property
    def figures(self) -> bool:
        """Whether they are drawn."""
        return True

    @property
    @abstractmethod
    def models(self) -> dict[str, ModelConfig]:
        """All models that it needs, by their keys in the config."""

    @abstractmethod
    def measure(self, folder: Path) -> tuple[Report, dict[str, Any]]:
        """Do it; returns the report and the provenance. `folder` is for what must outlive an interruption."""


@dataclass(frozen=True)
class Measured:
    """What an experiment has measured: all that its report needs."""

    measurement: Measurement
    checks: dict[str, float]
    model: dict[str, str | None]
    """Its provenance."""


@dataclass(frozen=True)
class Experiment(Job):
    """A checked config: model × task × intervention, and how to run and track them."""

    COMMAND = "sweep.py"

    root: Root
    model: ModelConfig
    task: Task
    intervention: Intervention
    tracker: TrackerConfig

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Every group by its own class."""
        groups = {key: config.get(key) or {} for key in ("model", "task", "intervention", "tracker")}
        experiment = cls(
            root=Root.from_config({key: value for key, value in config.items() if key not in groups}, ""),
            model=ModelConfig.from_config(groups["model"], "model"),
            task=instantiate(groups["task"], "task", Task),
            intervention=instantiate(groups["intervention"], "intervention", Intervention),
            tracker=TrackerConfig.from_config(groups["tracker"], "tracker"),
        )
        for part in (experiment.model, experiment.task, experiment.intervention, experiment.tracker):
            part.check()
        return experiment

    @property
    def title(self) -> str:
        """Such as `patch z · tiny-gpt2 · ioi`."""
        return f"{self.intervention.title} · {self.model.label} · {self.task.name}"

    @property
    def kind(self) -> str:
        """The intervention."""
        return self.intervention.name

    @property
    def tags(self) -> tuple[str, ...]:
        """Model and task."""
        return self.model.label, self.task.name

    @property
    def figures(self) -> bool:
        """As its config says."""
        return self.root.figures

    @property
    def models(self) -> dict[str, ModelConfig]:
        """Its own, and those of the intervention."""
        return {"model": self.model} | {f"intervention.{key}": model for key, model in self.intervention.models.items()}

    def measure(self, folder: Path) -> tuple[Report, dict[str, Any]]:
        """Load, plan, execute and check; then report."""
        return self.reported(self.measured())

    def reported(self, measured: Measured) -> tuple[Report, dict[str, Any]]:
        """The report on what was measured, and the provenance."""
        report = self.intervention.report(measured.measurement)
        clean, corrupted = measured.measurement.clean, measured.measurement.corrupted
        report = replace(
            report,
            metrics=measured.checks | report.metrics,
            prompts=measured.measurement.prompt_table() if report.prompts is None else report.prompts,
            summary=baseline_lines(clean, corrupted) + report.summary,
        )
        return report, {"model": measured.model, "seed": self.root.seed}

    def measured(self) -> Measured:
        """Load, plan, execute and check."""
        from ioi_lab.models import load_model

        model = load_model(self.model)
        prompts = shared_prompts(model, self.task, sha256_of_named_files(self.task.model_dump()))
        engine = shared_engine(model, prompts, self.root.engine)
        intervention = self.intervention
        clean, corrupted = engine.baseline("clean"), engine.baseline("corrupted")
        check_gap(clean, corrupted)
        edited, checks = checked_run(engine, intervention.plan(engine), intervention.base)
        measurement = Measurement(
            shape=model.shape,
            prompts=prompts,
            task_title=self.task.title,
            clean=clean,
            corrupted=corrupted,
            edited=edited,
            bootstrap=Bootstrap(len(prompts), self.root.seed),
            observed=intervention.observe(engine),
        )
        return Measured(measurement, checks, model.provenance)


@dataclass(frozen=True)
class Prepared:
    """A job that is checked, and once it is `measured` done but for its report."""

    resolved: dict[str, Any]
    """Its config."""

    job: Experiment
    identity: dict[str, str]
    """Of before it was measured."""

    measured: Measured | None = None


ahead: Final[dict[Path, Prepared]] = {}
"""What `batch.measured_ahead` has prepared, by the jobs' folders."""


def run_experiment(
    config: DictConfig, folder: Path, sweep: Path | None = None, kind: type[Job] = Experiment
) -> dict[str, float]:
    """Do what a config asks for into `folder`, unless it is done, and track it; returns its metrics.

    `sweep` is the folder of the sweep that the run belongs to. Whatever goes wrong is raised again after the folder has
    been marked as failed.
    """
    run = RunFolder(folder)
    with run.locked():
        try:
            prepared = ahead.pop(folder.absolute(), None)
            resolved = resolve(config) if prepared is None else prepared.resolved
            looks_back = sweep if resolved.get("resume") is True else None
            job = _do(run, resolved, kind, looks_back, prepared)
        except BaseException as error:
            run.fail(error)
            raise
        if job.tracker.name != "none" and (sweep is None or job.tracker.runs == "job") and not run.is_tracked:
            _track(run, job, resolved, sweep)
        return run.metrics()


def _do(
    run: RunFolder, resolved: dict[str, Any], kind: type[Job], sweep: Path | None, prepared: Prepared | None
) -> Job:
    """Leave what a config asks for in the folder of `run`: what it or another run of the `sweep` has, or measure it."""
    where = os.path.relpath(run.path)
    was_done = sweep is not None and is_done(run.path)
    if not was_done:
        run.start(yaml_text(resolved), kind.COMMAND)
    job = kind.from_config(resolved) if prepared is None else prepared.job
    identity = identity_of(resolved, job.models)
    if was_done:
        reason = why_again(run.path, identity)
        if reason is None:
            log.info("%s is done already", where)
            return job
        log.warning("%s: %s, so it is run again", where, reason)
        run.start(yaml_text(resolved), kind.COMMAND)
    earlier = earlier_run(sweep, identity) if sweep is not None else None
    if earlier is not None and run.take_over(earlier, identity):
        log.info("%s is taken from %s", where, os.path.relpath(earlier))
        return job
    if prepared is not None and prepared.measured is not None and prepared.identity == identity:
        report, provenance = prepared.job.reported(prepared.measured)
    else:
        report, provenance = job.measure(run.path)
    check_unchanged(identity, identity_of(resolved, job.models))
    run.write_report(report, figures=job.figures)
    run.finish({**provenance, **report.provenance, **environment(), "identity": identity})
    for line in [job.title, *report.summary, f"results: {where}"]:
        log.info(line)
    return job


def _track(run: RunFolder, job: Job, resolved: dict[str, Any], sweep: Path | None) -> None:
    finished = FinishedRun(
        folder=run.path,
        title=job.title,
        job_type=job.kind,
        group=None if sweep is None else name_of_sweep(sweep),
        tags=job.tags,
        config=resolved,
        metrics=run.metrics(),
        table=run.table(),
        media=run.media(),
    )
    where = track(finished, job.tracker)
    if where is not None:
        run.say_tracked(where)


def resolve(config: DictConfig) -> dict[str, Any]:
    """The config, without Hydra's own, as plain values, with every interpolation resolved and nothing missing."""
    try:
        resolved = {str(key): _plain(config[key]) for key in config if key != "hydra"}
    except MissingMandatoryValue as error:
        raise LabError(f"{error.full_key}: this key has no value yet; give one with {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        raise LabError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    _make_paths_absolute(resolved)
    return resolved


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _make_paths_absolute(group: dict[Any, Any]) -> None:
    """So that the config in the run folder can be run again from anywhere."""
    for key, value in group.items():
        if isinstance(value, dict):
            _make_paths_absolute(value)
        elif key in _PATHS and isinstance(value, str) and not _names_no_file(group) and Path(value).exists():
            group[key] = str(Path(value).resolve())


def _names_no_file(group: dict[Any, Any]) -> bool:
    """Whether the path in a model's config is that of something on the hub or in the package."""
    return group.get("source") in ("hub", "tiny")


@lru_cache(maxsize=2)  # as of models, which its keys keep alive
def shared_prompts(model: LabModel, task: Task, sha256_of_files: str) -> PromptPairs:
    """The task's prompts for a model: the same ones for jobs with equal tasks and equal files that these name."""
    return task.prompt_pairs(model.tokens)


@lru_cache(maxsize=2)  # the jobs of a multirun share baselines; two, as of models, which an engine keeps alive
def shared_engine(model: LabModel, prompts: PromptPairs, config: EngineConfig) -> Engine:
    """The engine for a model and prompts, with its baselines: the same one for jobs with equal ones."""
    from ioi_lab.engine import Engine

    return Engine(model, prompts, config.memory_gb, config.readout)
