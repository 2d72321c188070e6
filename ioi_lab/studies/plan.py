"""What a study would do and cost, before it is run: `dry_run=true`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.config import instantiate
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.jobs.experiment import shared_prompts
from ioi_lab.models.loading import load_model
from ioi_lab.reports.wording import counted
from ioi_lab.runs.identity import sha256_of_named_files
from ioi_lab.studies.config import config_of_step
from ioi_lab.studies.steps import Rule, Step
from ioi_lab.tasks.prompts import PromptPairs, Task
from ioi_lab.terminal import say

if TYPE_CHECKING:
    from pathlib import Path

    from ioi_lab.models.loading import LabModel
    from ioi_lab.studies.study import Study

_MIB: Final = 2**20


@dataclass(frozen=True)
class PlannedStep:
    """What a step would cost at most: engines skip what edits do not change."""

    step: Step
    n_edit_sets: int | None
    """The edited passes per prompt; None if they are not known before they are run."""

    n_prompts: int
    chosen: tuple[str, ...]
    """The keys that are chosen from earlier steps; the cost is that of a stand-in for their values."""

    @property
    def n_passes(self) -> int | None:
        """The passes of single prompts, with the two unedited ones."""
        return None if self.n_edit_sets is None else (self.n_edit_sets + 2) * self.n_prompts


def planned_steps(study: Study, model: LabModel, folder: Path) -> list[PlannedStep]:
    """Return the steps of a study with their costs; raises a `LabError` for a selector that the model does not have."""
    planned = []
    for step in study.steps:
        if step.kind == "alignment":
            planned.append(PlannedStep(step, None, 0, ()))
            continue
        rules = step.rules_of(study.config["steps"][step.name]["intervention"])
        config = config_of_step(step, study.config, {key: rule.stand_in for key, rule in rules.items()}, folder)
        intervention = instantiate(config["intervention"], f"steps.{step.name}.intervention", Intervention)
        task = instantiate(config["task"], "task", Task)
        prompts = shared_prompts(model, task, sha256_of_named_files(task.model_dump()))
        planned.append(PlannedStep(step, _n_edit_sets(intervention, model, prompts, rules), len(prompts), tuple(rules)))
    return planned


def _n_edit_sets(
    intervention: Intervention[Any], model: LabModel, prompts: PromptPairs, rules: Mapping[str, Rule]
) -> int | None:
    """Return the edited passes per prompt; None also if the model has no place for what stands in for a choice."""
    try:
        return intervention.n_edit_sets(model.shape, prompts)
    except LabError:
        if not rules:
            raise
        return None


def print_plan(study: Study, folder: Path) -> None:
    """Print each step of a study with its edits, passes and minutes, and the memory of all of them."""
    from ioi_lab.engine.engine import Engine
    from ioi_lab.engine.memory import bound_in_bytes

    model = load_model(study.model)
    prompts = shared_prompts(model, study.task, sha256_of_named_files(study.task.model_dump()))
    planned = planned_steps(study, model, folder)
    engine = Engine(model, prompts, study.keys.engine.memory_gb)
    engine.baseline("clean")  # the first pass of a model takes longer
    started = time.perf_counter()
    engine.baseline("corrupted")
    seconds = (time.perf_counter() - started) / len(prompts)
    say(f"{study.title}: {counted(len(planned), 'step')}, none of which is run")
    say(f"{'step':<15}{'edited passes':>14}{'prompts':>9}{'passes':>10}{'minutes':>9}  chosen from earlier steps")
    for each in planned:
        passes = each.n_passes
        minutes = "?" if passes is None else f"{passes * seconds / 60:.1f}"
        edits, count = ("?" if number is None else f"{number:,}" for number in (each.n_edit_sets, passes))
        row = (
            f"{each.step.name:<15}{edits:>14}{each.n_prompts or '':>9}{count:>10}{minutes:>9}  {', '.join(each.chosen)}"
        )
        say(row.rstrip())
    weights = sum(parameter.nbytes for parameter in model.bridge.parameters()) / _MIB
    bound = bound_in_bytes(study.keys.engine.memory_gb, model.device) / _MIB
    say(
        f"minutes at {1000 * seconds:.1f} ms per pass and prompt, as measured now on unedited prompts: whole passes, "
        "of which the engine runs the part behind an edit; figures, texts and imports come on top"
    )
    say(f"memory: {weights:,.0f} MiB of weights, and at most {bound:,.0f} MiB for the engine (engine.memory_gb)")
