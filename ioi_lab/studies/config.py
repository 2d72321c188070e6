"""The keys of a study, and the config of each of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError, did_you_mean
from ioi_lab.jobs.experiment import EngineConfig, StatsConfig
from ioi_lab.runs.figure_files import FigureFiles, Figures
from ioi_lab.studies.steps import STEPS, Step

_NAMES = [step.name for step in STEPS]


class StudyRules(LabConfig):
    """Which steps are run, and how much they take from the steps before."""

    steps: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    skip: list[str] = Field([])
    max_heads: int = Field(5, ge=1)
    max_layers: int = Field(4, ge=1)


class StudyKeys(LabConfig):
    """The keys at the top of a study's config."""

    name: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    resume: bool = True
    dry_run: bool = False
    figures: Figures = FigureFiles()
    engine: EngineConfig = EngineConfig()
    stats: StatsConfig = StatsConfig()
    study: StudyRules = StudyRules()


def steps_of(rules: StudyRules, parts: Mapping[str, Any], *, has_source: bool) -> list[Step]:
    """Return the steps that are run, in their order.

    Args:
        rules: Which steps are asked for.
        parts: The configs of the steps, by name.
        has_source: Whether the study has a second model.

    Raises:
        LabError: For a step that does not exist, for one that needs a second model, for one whose config says that it
            takes something of a step that is not listed, and if no step is left. If all steps are run but
            those of `skip`, steps that need one of these are skipped later.

    """
    for key in ("steps", "skip"):
        value = getattr(rules, key)
        for name in [] if value == "all" else value:
            if name not in _NAMES:
                choices = ", ".join(_NAMES)
                raise LabError(f"study.{key}: got {name!r}{did_you_mean(name, _NAMES)}, expected some of {choices}")
    wanted = [name for name in (_NAMES if rules.steps == "all" else rules.steps) if name not in rules.skip]
    chosen = [step for step in STEPS if step.name in wanted and (has_source or not step.needs_source)]
    for step in STEPS:
        if step.needs_source and not has_source and rules.steps != "all" and step.name in wanted:
            raise LabError(f"study.steps: {step.name} needs a second model; add one with source=tiny-pythia")
    if not chosen:
        raise LabError(f"study.skip: got {rules.skip}, which leaves no step to run")
    if rules.steps != "all":
        _check_needs(chosen, parts)
    return chosen


def _check_needs(chosen: Sequence[Step], parts: Mapping[str, Any]) -> None:
    names = [step.name for step in chosen]
    for step in chosen:
        for key, rule in step.rules_of(parts[step.name].get("intervention", {})).items():
            if rule.needs is not None and rule.needs not in names:
                raise LabError(
                    f"study.steps: {step.name} takes its {key} from the step {rule.needs}, which is not run; add that "
                    f"step, skip {step.name}, or set steps.{step.name}.intervention.{key}"
                )


def config_of_step(step: Step, config: Mapping[str, Any], chosen: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the config of a step's run, which is that of `ioi-lab sweep` or `ioi-lab align`.

    Args:
        step: The step.
        config: The resolved config of the study.
        chosen: The values of the keys of its intervention that the study has chosen.
        folder: The folder of the step, in which an interrupted alignment goes on.

    """
    part = config["steps"][step.name]
    shared = {
        "name": f"{config['name']}-{step.name}",
        "seed": config["seed"],
        "resume": True,
        "figures": config["figures"],
    }
    if step.kind == "alignment":
        from ioi_lab.alignment.reading import CHECKPOINT

        return {
            **shared,
            "resume_from": str(folder) if (folder / CHECKPOINT).is_file() else None,
            "engine": {"memory_gb": config["engine"]["memory_gb"]},
            "source": config["source"],
            "target": config["model"],
            "corpus": part["corpus"],
            "alignment": part["alignment"],
            "tracker": config["tracker"],
        }
    intervention = {**part["intervention"], **chosen}
    if step.needs_source:
        intervention["source"] = config["source"]
    return {
        **shared,
        "engine": config["engine"],
        "stats": config["stats"],
        "model": config["model"],
        "task": {**config["task"], **_seed_of_other_prompts(step, config["task"]), **part.get("task", {})},
        "intervention": intervention,
        "tracker": config["tracker"],
    }


def draws_prompts(task: Mapping[str, Any]) -> bool:
    """Return whether the task draws its prompts, so that there are others with another seed."""
    return isinstance(task.get("seed"), int) and task.get("prompt") is None


def _seed_of_other_prompts(step: Step, task: Mapping[str, Any]) -> dict[str, int]:
    return {"seed": task["seed"] + 1} if step.other_prompts and draws_prompts(task) else {}
