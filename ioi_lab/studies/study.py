"""The job of `ioi-lab study`: all steps of a study in one run folder, and their report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from omegaconf import DictConfig
from typing_extensions import override

from ioi_lab.config import instantiate
from ioi_lab.errors import LabError, called
from ioi_lab.jobs.experiment import shared_prompts
from ioi_lab.jobs.job import Job, Outcome, PreparedJob
from ioi_lab.models.loading import ModelConfig
from ioi_lab.models.precision import in_low_precision, title_of
from ioi_lab.runs.figure_files import FigureFiles
from ioi_lab.runs.identity import sha256_of_named_files
from ioi_lab.runs.tracking import TrackerConfig
from ioi_lab.studies.config import StudyKeys, config_of_step, draws_prompts, steps_of
from ioi_lab.studies.findings import Findings
from ioi_lab.studies.running import KINDS, StepRecord, given_to, run_steps
from ioi_lab.studies.steps import Step
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.prompts import Task

_GROUPS = ("model", "source", "task", "tracker", "steps")


@dataclass(frozen=True)
class Study(Job):
    """A checked study: a model, a task, and the steps that ask how the one does the other."""

    COMMAND = "study"

    keys: StudyKeys
    model: ModelConfig
    source: ModelConfig | None
    task: Task
    steps: Sequence[Step]
    tracker: TrackerConfig
    config: Mapping[str, Any]
    """The resolved config, from which those of the steps are made."""

    given: Mapping[str, ModelConfig]
    figures: FigureFiles

    @classmethod
    @override
    def from_config(cls, config: dict[str, Any], given: Mapping[str, ModelConfig]) -> Self:
        keys = StudyKeys.from_config({key: value for key, value in config.items() if key not in _GROUPS}, "")
        source = given.get("source")
        if source is None and config.get("source") is not None:
            source = ModelConfig.from_config(config["source"], "source")
        steps = steps_of(keys.study, config["steps"], has_source=source is not None)
        study = cls(
            keys=keys,
            model=given.get("model") or ModelConfig.from_config(config.get("model") or {}, "model"),
            source=source,
            task=instantiate(config.get("task") or {}, "task", Task),
            steps=steps,
            tracker=TrackerConfig.from_config(config.get("tracker") or {}, "tracker"),
            config=config,
            given=given,
            figures=keys.figures,
        )
        for step in steps:
            study._check_step(step)
        return study

    def _check_step(self, step: Step) -> None:
        """Raise a `LabError` that names the key as it was typed if the config of a step is wrong."""
        part = self.config["steps"][step.name].get("intervention", {})
        stand_ins = {key: rule.stand_in for key, rule in step.rules_of(part).items()}
        config = config_of_step(step, self.config, stand_ins, Path())
        place = f"steps.{step.name}"
        with (
            called("intervention", f"{place}.intervention"),
            called("alignment", f"{place}.alignment"),
            called("corpus", f"{place}.corpus"),
            called("target", "model"),
            called("task", f"{place}.task"),
        ):
            KINDS[step.kind].from_config(config, given_to(step, self.given))

    @property
    @override
    def title(self) -> str:
        return f"{self.subject} · {self.task.name}"

    @property
    @override
    def subject(self) -> str:
        return f"study · {self.model.label}"

    @property
    @override
    def kind(self) -> str:
        return "study"

    @property
    @override
    def tags(self) -> tuple[str, ...]:
        return self.model.label, self.task.name

    @property
    @override
    def models(self) -> dict[str, ModelConfig]:
        return {"model": self.model} | ({} if self.source is None else {"source": self.source})

    @override
    def measure(self, folder: Path) -> Outcome:
        """Run the steps, and report on all of them; a step that fails is a hole in the report, and fails the study."""
        from ioi_lab.models.loading import load_model
        from ioi_lab.reports.report import ReportContext
        from ioi_lab.studies.report import StudyReport

        model = load_model(self.model)
        prompts = shared_prompts(model, self.task, sha256_of_named_files(self.task.model_dump()))
        findings = Findings(
            prompts.labels(),
            isinstance(self.task, IOITask),
            self.keys.study.max_heads,
            self.keys.study.max_layers,
            queries_per_key=model.shape.n_heads // model.shape.n_kv_heads,
        )
        records = run_steps(self.steps, self.config, findings, folder, self.given)
        context = ReportContext(
            title_of(self.model), self.task.title, in_low_precision(self.models), self.keys.stats.over
        )
        report = StudyReport(context, records, findings, draws_prompts=draws_prompts(self.config["task"])).report()
        return Outcome(report, {"model": model.provenance, "seed": self.keys.seed}, failure=_failure(records))


def _failure(records: Sequence[StepRecord]) -> LabError | None:
    """Return the error of a study in which steps failed; it is raised after the report has been written."""
    failed = [record for record in records if record.state == "failed"]
    if not failed:
        return None
    first, others = failed[0], f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return LabError(
        f"the step {first.step.name} failed{others}: {first.reason}; the same command runs the failed steps again"
    )


def prepare_study(config: DictConfig, given: Mapping[str, ModelConfig] | None = None) -> PreparedJob:
    """Return the study that a composed config asks for; `given`: see `Job.from_config`."""
    return PreparedJob(config, Study, given)
