"""One experiment from config to tracked result: compose → plan → execute → report → track.

torch is imported only after everything that the config alone can tell has been checked.
"""

from __future__ import annotations

import logging
import os
import pydoc
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import Field

from ioi_lab.checks import baseline_lines, check_gap, checked_run
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention, Measurement, Report
from ioi_lab.metrics import Bootstrap
from ioi_lab.models import ModelConfig
from ioi_lab.runs import RunFolder, environment
from ioi_lab.schema import LabConfig
from ioi_lab.tasks.prompts import PromptPairs, Task
from ioi_lab.tracking import FinishedRun, TrackerConfig, track

if TYPE_CHECKING:
    from ioi_lab.engine import Engine
    from ioi_lab.models import LabModel

ConfigT = TypeVar("ConfigT", bound=LabConfig)
log = logging.getLogger(__name__)

_PATHS: Final = frozenset({"path", "from_run", "text", "translators", "vector"})
"""Keys of a config group that name a file or a folder."""


class EngineConfig(LabConfig):
    """How the engine runs: its memory bound, and what is read of each run."""

    memory_gb: Literal["auto"] | Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0)]
    readout: Literal["full", "logit_diff"]


class Root(LabConfig):
    """The keys at the top of a config."""

    name: str = Field(min_length=1)
    seed: int = Field(ge=0)
    engine: EngineConfig


@dataclass(frozen=True)
class Experiment:
    """A checked config: model × task × intervention, and how to run and track them."""

    root: Root
    model: ModelConfig
    task: Task
    intervention: Intervention
    tracker: TrackerConfig

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Check a resolved config; raises a `LabError` that names the first wrong key."""
        groups = {key: config.get(key) or {} for key in ("model", "task", "intervention", "tracker")}
        experiment = cls(
            root=Root.from_config({key: value for key, value in config.items() if key not in groups}, ""),
            model=ModelConfig.from_config(groups["model"], "model"),
            task=_instantiate(groups["task"], "task", Task),
            intervention=_instantiate(groups["intervention"], "intervention", Intervention),
            tracker=TrackerConfig.from_config(groups["tracker"], "tracker"),
        )
        for part in (experiment.model, experiment.task, experiment.intervention, experiment.tracker):
            part.check()
        return experiment

    @property
    def title(self) -> str:
        """Such as `patch z · tiny-gpt2 · ioi`."""
        return f"{self.intervention.title} · {self.model.label} · {self.task.name}"


def run_experiment(config: DictConfig, folder: Path, group: str | None = None) -> dict[str, float]:
    """Run one experiment into `folder` and track it; returns its metrics.

    `group` names the sweep that the run belongs to. Whatever goes wrong is raised again after the folder has been
    marked as failed.
    """
    run = RunFolder(folder)
    try:
        resolved = resolve(config)
        run.start(OmegaConf.to_yaml(OmegaConf.create(resolved)))
        experiment = Experiment.from_config(resolved)
        report, provenance = _measure(experiment)
        media = run.write_report(report)
        run.finish(provenance)
    except BaseException as error:
        run.fail(error)
        raise
    for line in [experiment.title, *report.summary, f"results: {os.path.relpath(folder)}"]:
        log.info(line)
    finished = FinishedRun(
        folder=folder,
        title=experiment.title,
        job_type=experiment.intervention.name,
        group=group,
        tags=(experiment.model.label, experiment.task.name),
        config=resolved,
        metrics=report.metrics,
        table=report.table,
        media=media,
    )
    track(finished, experiment.tracker)
    return report.metrics


def resolve(config: DictConfig) -> dict[str, Any]:
    """The config as plain values, with every interpolation resolved and nothing missing."""
    try:
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise LabError(f"{error.full_key}: this key has no value yet; give one with {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        raise LabError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    assert isinstance(resolved, dict)
    _make_paths_absolute(resolved)
    return {str(key): value for key, value in resolved.items()}


def _make_paths_absolute(resolved: dict[Any, Any]) -> None:
    """So that the config in the run folder can be run again from anywhere."""
    for group in (resolved.get("model"), resolved.get("task"), resolved.get("intervention")):
        if not isinstance(group, dict) or group.get("source") in ("hub", "tiny"):
            continue
        for key in _PATHS & group.keys():
            path = group[key]
            if isinstance(path, str) and Path(path).exists():
                group[key] = str(Path(path).resolve())


def _measure(experiment: Experiment) -> tuple[Report, dict[str, Any]]:
    """Load, plan, execute, check and report; returns the report and the provenance."""
    from ioi_lab.models import load_model

    model = load_model(experiment.model)
    prompts = experiment.task.prompt_pairs(model.tokens)
    engine = shared_engine(model, prompts, experiment.root.engine)
    intervention = experiment.intervention
    clean, corrupted = engine.baseline("clean"), engine.baseline("corrupted")
    check_gap(clean, corrupted)
    edited, checks = checked_run(engine, intervention.plan(engine), intervention.base)
    measurement = Measurement(
        shape=model.shape,
        prompts=prompts,
        task_title=experiment.task.title,
        clean=clean,
        corrupted=corrupted,
        edited=edited,
        bootstrap=Bootstrap(len(prompts), experiment.root.seed),
        observed=intervention.observe(engine),
    )
    report = intervention.report(measurement)
    report = replace(
        report,
        metrics=checks | report.metrics,
        prompts=measurement.prompt_table() if report.prompts is None else report.prompts,
        summary=baseline_lines(clean, corrupted) + report.summary,
    )
    return report, _provenance(experiment, model)


@lru_cache(maxsize=2)  # the jobs of a multirun share baselines; two, as of models, which an engine keeps alive
def shared_engine(model: LabModel, prompts: PromptPairs, config: EngineConfig) -> Engine:
    """The engine for a model and prompts, with its baselines: the same one for jobs with equal ones."""
    from ioi_lab.engine import Engine

    return Engine(model, prompts, config.memory_gb, config.readout)


def _provenance(experiment: Experiment, model: LabModel) -> dict[str, Any]:
    """Where the numbers come from: the model's weights, the seed, the code and the machine."""
    return {
        "model": {
            "name": model.config.label,
            "source": model.config.source,
            "path": model.config.path,
            "revision": model.config.revision,
            "weights_sha256": model.weights_sha256,
        },
        "seed": experiment.root.seed,
        "device": model.device_name,
        "dtype": model.config.dtype,
        **environment(),
    }


def _instantiate(values: dict[str, Any], group: str, base: type[ConfigT]) -> ConfigT:
    """The checked config of the class that `_target_` names."""
    arguments = dict(values)
    target = arguments.pop("_target_", None)
    cls = pydoc.locate(str(target))
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise LabError(
            f"{group}._target_: got {target!r}, expected the full name of a class that inherits {base.__name__}"
        )
    return cls.from_config(arguments, group)
