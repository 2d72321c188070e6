"""Running the steps of a study: each is a run in a folder of its own, and one that fails does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ioi_lab.errors import called, explained, folded
from ioi_lab.jobs.alignment import AlignmentJob
from ioi_lab.jobs.experiment import Experiment
from ioi_lab.jobs.job import Job, PreparedJob, run_job
from ioi_lab.models.loading import ModelConfig
from ioi_lab.runs.pages import page_of
from ioi_lab.studies.config import config_of_step
from ioi_lab.studies.findings import Findings
from ioi_lab.studies.steps import Choice, NothingChosenError, Step

log = logging.getLogger(__name__)

KINDS: dict[str, type[Job]] = {"experiment": Experiment, "alignment": AlignmentJob}
BASELINE = "baseline"


@dataclass(frozen=True)
class StepRecord:
    """How a step of a study ended."""

    step: Step
    folder: Path
    state: Literal["done", "failed", "skipped"]
    reason: str = ""
    """Why the step failed or was skipped."""

    seconds: float = 0.0
    choices: Mapping[str, Choice] = field(default_factory=dict)
    """What the study chose, by the keys of the step's intervention."""


def folder_of(study: Path, number: int, step: Step) -> Path:
    """Return the folder of a step, whose number makes a list of the folders that of the steps in their order."""
    return study / f"{number:02d}-{step.name}"


def run_steps(
    steps: Sequence[Step],
    config: Mapping[str, Any],
    findings: Findings,
    study: Path,
    given: Mapping[str, ModelConfig],
) -> list[StepRecord]:
    """Run the steps in their order, and return how each ended.

    A step that is done in its folder, with the same config, code, files and weights, is not run again. If the model is
    not shown to do the task, the steps behind the baseline are skipped.

    Args:
        steps: The steps.
        config: The resolved config of the study.
        findings: What the steps find is added to it.
        study: The folder of the study.
        given: Models that are loaded already, by the config group that they stand for.

    """
    records: list[StepRecord] = []
    stop = ""
    for number, step in enumerate(steps, start=1):
        folder = folder_of(study, number, step)
        record = (
            StepRecord(step, folder, "skipped", stop) if stop else _run(step, config, findings, folder, study, given)
        )
        records.append(record)
        log.info("%2d/%d %-14s %s", number, len(steps), step.name, line_of(record))
        if record.state == "done":
            findings.folders[step.name] = folder
            if step.name == BASELINE and not findings.metrics(BASELINE)["does_task"]:
                stop = "the model is not shown to do the task (study.skip=[baseline] runs the steps all the same)"
    return records


def line_of(record: StepRecord) -> str:
    """Return how a step ended, for the terminal: the start of its answer, or why there is none."""
    if record.state != "done":
        return f"{record.state}: {record.reason}"
    return f"{answer_of(record.folder)} ({record.seconds:.0f} s)"


def answer_of(folder: Path) -> str:
    """Return the first sentence of the answer of a finished run, or the first line of its summary."""
    page = page_of(folder)
    return next((line.strip() for line in (*page.answer, *page.details) if line.strip()), "done")


def _run(
    step: Step,
    config: Mapping[str, Any],
    findings: Findings,
    folder: Path,
    study: Path,
    given: Mapping[str, ModelConfig],
) -> StepRecord:
    started = time.monotonic()
    try:
        choices = _choices(step, config, findings)
    except NothingChosenError as error:
        return StepRecord(step, folder, "skipped", str(error))
    chosen = {key: choice.value for key, choice in choices.items()}
    try:
        prepared = PreparedJob.of(config_of_step(step, config, chosen, folder), KINDS[step.kind], given_to(step, given))
        with called("intervention", f"steps.{step.name}.intervention"):
            run_job(prepared, folder, study, announce=False)
    except Exception as error:
        return StepRecord(step, folder, "failed", folded(explained(error)), time.monotonic() - started, choices)
    return StepRecord(step, folder, "done", "", time.monotonic() - started, choices)


def _choices(step: Step, config: Mapping[str, Any], findings: Findings) -> dict[str, Choice]:
    """Return what the study chooses for a step; raises `NothingChosenError` if an earlier step has nothing for it."""
    choices = {}
    for key, rule in step.rules_of(config["steps"][step.name].get("intervention", {})).items():
        if rule.needs is not None and rule.needs not in findings.folders:
            raise NothingChosenError(f"it takes its {key} from the step {rule.needs}, which is not done")
        choices[key] = rule.choose(findings)
    return choices


def given_to(step: Step, given: Mapping[str, ModelConfig]) -> dict[str, ModelConfig]:
    """Return the loaded models of a study by the names that the job of a step has for them."""
    if step.kind == "alignment":
        names = {"model": "target", "source": "source"}
        return {names[key]: model for key, model in given.items()}
    return {key: model for key, model in given.items() if key == "model"}
