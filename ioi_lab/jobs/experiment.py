"""One experiment: model × task × intervention, from its config to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from omegaconf import DictConfig
from pydantic import Field
from typing_extensions import override

from ioi_lab.config import LabConfig, instantiate
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention, Result
from ioi_lab.jobs.job import Job, Outcome, PreparedJob
from ioi_lab.jobs.texts import with_common_texts
from ioi_lab.models.loading import ModelConfig
from ioi_lab.models.precision import in_low_precision, title_of
from ioi_lab.runs.figure_files import FigureFiles, Figures
from ioi_lab.runs.identity import sha256_of_named_files
from ioi_lab.runs.tracking import TrackerConfig
from ioi_lab.stats.bootstrap import MIN_PROMPTS, Over
from ioi_lab.tasks.prompts import PromptPairs, Task

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine, Executor
    from ioi_lab.models.loading import LabModel
    from ioi_lab.models.shape import ModelShape


class EngineMemory(LabConfig):
    """The memory bound of the engine."""

    memory_gb: Literal["auto"] | Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0)] = "auto"


class EngineConfig(EngineMemory):
    """The memory bound of the engine, and what it reads of each pass."""

    readout: Literal["full", "logit_diff"] = "full"


class StatsConfig(LabConfig):
    """What intervals and tests are taken over."""

    over: Over = "prompts"


class ExperimentKeys(LabConfig):
    """The keys at the top of an experiment's config."""

    name: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    resume: bool = True
    figures: Figures = FigureFiles()
    optimize: str | None = None
    engine: EngineConfig = EngineConfig()
    stats: StatsConfig = StatsConfig()


@dataclass(frozen=True)
class Measured:
    """A measured experiment: its result, and the provenance of the model."""

    result: Result
    model: dict[str, str | None]
    notes: tuple[str, ...]
    """Sentences on how the prompts came about, and on their length."""


@dataclass(frozen=True)
class Experiment(Job):
    """A checked config: model × task × intervention, and how to run and track them."""

    COMMAND = "sweep"
    MODULES = frozenset({"ioi_lab.jobs.shared_passes"})

    keys: ExperimentKeys
    model: ModelConfig
    task: Task
    intervention: Intervention[Any]
    tracker: TrackerConfig
    figures: FigureFiles

    @classmethod
    @override
    def from_config(cls, config: dict[str, Any], given: Mapping[str, ModelConfig]) -> Self:
        groups = {key: config.get(key) or {} for key in ("model", "task", "intervention", "tracker")}
        keys = ExperimentKeys.from_config({key: value for key, value in config.items() if key not in groups}, "")
        experiment = cls(
            keys=keys,
            model=given.get("model") or ModelConfig.from_config(groups["model"], "model"),
            task=instantiate(groups["task"], "task", Task),
            intervention=instantiate(groups["intervention"], "intervention", Intervention),
            tracker=TrackerConfig.from_config(groups["tracker"], "tracker"),
            figures=keys.figures,
        )
        for part in (experiment.model, experiment.task, experiment.intervention, experiment.tracker):
            part.check()
        return experiment

    @property
    @override
    def title(self) -> str:
        return f"{self.subject} · {self.task.name}"

    @property
    @override
    def subject(self) -> str:
        return f"{self.intervention.title} · {self.model.label}"

    @property
    @override
    def kind(self) -> str:
        return self.intervention.name

    @property
    @override
    def tags(self) -> tuple[str, ...]:
        return self.model.label, self.task.name

    @property
    @override
    def models(self) -> dict[str, ModelConfig]:
        others = {f"intervention.{key}": model for key, model in self.intervention.models.items()}
        return {"model": self.model} | others

    @property
    @override
    def named(self) -> Mapping[str, Mapping[str, Any]]:
        return self.intervention.named

    @override
    def measure(self, folder: Path) -> Outcome:
        return self.outcome(self.measured(folder=folder))

    def measured(self, executor: Executor | None = None, folder: Path | None = None) -> Measured:
        """Load the model and measure.

        Args:
            executor: Evaluates the edit sets, by default at once.
            folder: The run's folder, for what must outlive an interruption.

        """
        from ioi_lab.models.loading import load_model

        model = load_model(self.model)
        prompts = shared_prompts(model, self.task, sha256_of_named_files(self.task.model_dump()))
        engine = shared_engine(model, prompts, self.keys.engine, self.keys.seed, self.keys.stats.over)
        if self.task.only_correct:
            engine = engine.on(answered_prompts(engine))
        check_groups(engine)
        if executor is not None:
            engine = engine.with_executor(executor)
        notes = (*engine.prompts.notes, *length_notes(engine.prompts, model.shape))
        return Measured(self.intervention.measure_in(engine, folder), model.provenance, notes)

    def outcome(self, measured: Measured) -> Outcome:
        """Report on a measured experiment."""
        from ioi_lab.reports.report import ReportContext, precision_lines

        result, low_precision = measured.result, in_low_precision(self.models)
        context = ReportContext(title_of(self.model), self.task.title, low_precision, self.keys.stats.over)
        report = self.intervention.report(result, context)
        report = replace(
            report,
            metrics=result.checks.metrics() | report.metrics,
            prompts=result.baselines.prompt_columns() if report.prompts is None else report.prompts,
            summary=[*precision_lines(low_precision), *measured.notes, *result.baselines.lines(), *report.summary],
        )
        return Outcome(with_common_texts(report, result, context), {"model": measured.model, "seed": self.keys.seed})


def prepare_experiment(config: DictConfig, given: Mapping[str, ModelConfig] | None = None) -> PreparedJob:
    """Return the experiment that a composed config asks for; `given`: see `Job.from_config`."""
    return PreparedJob(config, Experiment, given)


def length_notes(prompts: PromptPairs, shape: ModelShape) -> tuple[str, ...]:
    """Return a warning if prompts are longer than what the model is made for, although it can read them."""
    if prompts.longest <= shape.n_ctx:
        return ()
    return (f"warning: a prompt has {prompts.longest} tokens, but {shape.name} is made for at most {shape.n_ctx}",)


@lru_cache(maxsize=2)  # like models, which its keys keep alive
def shared_prompts(model: LabModel, task: Task, sha256_of_files: str) -> PromptPairs:
    """Return the task's prompts for a model: the same ones for jobs with equal tasks and equal files named by them."""
    return task.prompt_pairs(model.tokens)


def answered_prompts(engine: Engine) -> PromptPairs:
    """Return the engine's prompts whose clean prompt the model answers.

    Raises a `LabError` if there are none.
    """
    kept = [pair for pair, correct in zip(engine.prompts, engine.baseline("clean").correct[0], strict=True) if correct]
    if not kept:
        raise LabError(
            f"task.only_correct: got true, but {engine.shape.name} answers none of the {len(engine.prompts)} prompts"
        )
    note = f"kept {len(kept)} of {len(engine.prompts)} prompts: those that the model answers"
    return PromptPairs(kept, (*engine.prompts.notes, note))


@lru_cache(maxsize=2)  # the jobs of a multirun share baselines; two, like models, which an engine keeps alive
def shared_engine(model: LabModel, prompts: PromptPairs, config: EngineConfig, seed: int, over: Over) -> Engine:
    """Return the engine for a model and prompts, with its baselines: the same one for jobs with equal ones."""
    from ioi_lab.engine.engine import Engine

    return Engine(model, prompts, config.memory_gb, config.readout, seed, over=over)


def check_groups(engine: Engine) -> None:
    """Raise a `LabError` if intervals are taken over too few sentences."""
    if engine.over == "sentences" and engine.bootstrap.n_units < MIN_PROMPTS:
        raise LabError(
            f"stats.over: got 'sentences', but the {len(engine.prompts)} prompts have "
            f"{engine.bootstrap.n_units} of them; expected prompts, or prompts with {MIN_PROMPTS} sentences or more"
        )
