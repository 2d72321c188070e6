"""One experiment from config to tracked result: compose → plan → execute → report → track.

torch is imported only after everything that the config alone can tell has been checked.
"""

from __future__ import annotations

import hashlib
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
from ioi_lab.files import sha256_of_content, yaml_text
from ioi_lab.interventions.base import Intervention, Measurement, Report
from ioi_lab.metrics import Bootstrap
from ioi_lab.models import ModelConfig
from ioi_lab.runs import RunFolder, done_identity, earlier_run, environment, identity, is_done
from ioi_lab.runs.table import DAMAGED
from ioi_lab.schema import LabConfig, instantiate
from ioi_lab.tasks.prompts import PromptPairs, Task
from ioi_lab.tracking import FinishedRun, TrackerConfig, track

if TYPE_CHECKING:
    from ioi_lab.engine import Engine
    from ioi_lab.models import LabModel

log = logging.getLogger(__name__)

_READ: Final = frozenset({"path", "from_run", "text", "translators", "vector", "maps"})
"""Keys that name a file or a folder that results depend on."""

_PATHS: Final = _READ | {"resume_from"}
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
    def models(self) -> list[ModelConfig]:
        """All models that it needs."""

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
    def models(self) -> list[ModelConfig]:
        """Its own, and those of the intervention."""
        return [self.model, *self.intervention.models]

    def measure(self, folder: Path) -> tuple[Report, dict[str, Any]]:
        """Load, plan, execute and check, unless that was done `ahead`; then report."""
        measured = ahead.pop(self, None) or self.measured()
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
        prompts = shared_prompts(model, self.task)
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


def run_experiment(
    config: DictConfig, folder: Path, group: str | None = None, kind: type[Job] = Experiment
) -> dict[str, float]:
    """Do what a config asks for into `folder` and track it; returns its metrics.

    `group` names the sweep that the run belongs to. Whatever goes wrong is raised again after the folder has been
    marked as failed.
    """
    run = RunFolder(folder)
    with run.locked():
        try:
            resolved = resolve(config)
            resumes = group is not None and resolved.get("resume") is True
            if resumes and is_done(folder):
                different = differences(folder, kind.from_config(resolved), resolved)
                if not different:
                    log.info("%s is done already", os.path.relpath(folder))
                    return run.metrics()
                log.warning("%s: %s, so it is run again", os.path.relpath(folder), what_was(different))
            run.start(yaml_text(resolved), kind.COMMAND)
            job = kind.from_config(resolved)
            same = inputs_of(resolved)  # before the work: who edits the code meanwhile does not edit this run
            if resumes and (earlier := equal_run(folder, job, resolved)) is not None:
                log.info("%s is taken from %s", os.path.relpath(folder), os.path.relpath(earlier))
                return run.take_over(earlier)
            report, provenance = job.measure(folder)
            media = run.write_report(report, figures=job.figures)
            identity_of_run = same | {"weights": weights_of_all(job)}
            run.finish({**provenance, **report.provenance, **environment(), "identity": identity_of_run})
        except BaseException as error:
            run.fail(error)
            raise
    for line in [job.title, *report.summary, f"results: {os.path.relpath(folder)}"]:
        log.info(line)
    finished = FinishedRun(
        folder=folder,
        title=job.title,
        job_type=job.kind,
        group=group,
        tags=job.tags,
        config=resolved,
        metrics=report.metrics,
        table=report.table,
        media=media,
    )
    if group is None or job.tracker.runs == "job":
        track(finished, job.tracker)
    return report.metrics


def inputs_of(resolved: dict[str, Any]) -> dict[str, str]:
    """What results depend on, but for the weights: the config, the code, and the files that the config names."""
    contents = " ".join(sha256_of_content(path) for path in _named_files(resolved))
    return {**identity(resolved), "files": hashlib.sha256(contents.encode()).hexdigest()}


def weights_of_all(job: Job) -> str:
    """The checksums of the models that a job needs: the other part of its identity."""
    from ioi_lab.models import weights_of

    return " ".join(weights_of(config) for config in job.models)


def differences(folder: Path, job: Job, resolved: dict[str, Any]) -> list[str]:
    """What of a job's identity is not that of the run that is done in `folder`; `damaged` if that is not whole."""
    theirs = done_identity(folder)
    if theirs is None:
        return [DAMAGED]
    ours = inputs_of(resolved) | {"weights": weights_of_all(job)}
    return [name for name, value in ours.items() if theirs.get(name) != value]


def what_was(different: list[str]) -> str:
    """Why a run that is done does not count."""
    return "its files are damaged" if different == [DAMAGED] else f"it was done with other {' and '.join(different)}"


def equal_run(folder: Path, job: Job, resolved: dict[str, Any]) -> Path | None:
    """The folder of an earlier run of the same name that has done what the job in `folder` is to do."""
    earlier = earlier_run(folder, inputs_of(resolved))
    return earlier if earlier is not None and not differences(earlier, job, resolved) else None


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


def _named_files(group: dict[Any, Any]) -> list[Path]:
    """The files that a resolved config names, but for models, whose weights are known by themselves."""
    if "source" in group and "dtype" in group:
        return []
    own = [Path(value) for key, value in group.items() if key in _READ and isinstance(value, str)]
    within = [path for value in group.values() if isinstance(value, dict) for path in _named_files(value)]
    return [path for path in own if path.exists()] + within


def _names_no_file(group: dict[Any, Any]) -> bool:
    """Whether the path in a model's config is that of something on the hub or in the package."""
    return group.get("source") in ("hub", "tiny")


ahead: Final[dict[Experiment, Measured]] = {}
"""What `batch.measure_ahead` has measured of jobs that are still to be run."""


@lru_cache(maxsize=2)  # as of models, which its keys keep alive
def shared_prompts(model: LabModel, task: Task) -> PromptPairs:
    """The task's prompts for a model: the same ones for jobs with equal tasks."""
    return task.prompt_pairs(model.tokens)


@lru_cache(maxsize=2)  # the jobs of a multirun share baselines; two, as of models, which an engine keeps alive
def shared_engine(model: LabModel, prompts: PromptPairs, config: EngineConfig) -> Engine:
    """The engine for a model and prompts, with its baselines: the same one for jobs with equal ones."""
    from ioi_lab.engine import Engine

    return Engine(model, prompts, config.memory_gb, config.readout)
