"""What every intervention is: a checked config that plans edits and turns their readout into a report."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ioi_lab.edits import EditSet, ModelShape, Run
from ioi_lab.metrics import Bootstrap, Estimate, Readout
from ioi_lab.schema import LabConfig
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.engine import Engine
    from ioi_lab.models import ModelConfig

SELECTORS: Final = ("component", "layer", "head", "position", "scale")
"""The columns of `results.csv` that say which edit a row is; selectors that do not apply are empty."""


@dataclass(frozen=True)
class Measurement:
    """Everything an intervention reports on: the readouts of its edits and of the two baselines, and observations."""

    shape: ModelShape
    prompts: PromptPairs
    task_title: str
    clean: Readout
    corrupted: Readout
    edited: Readout
    bootstrap: Bootstrap
    observed: Any = None
    """What `Intervention.observe` has returned."""

    @cached_property
    def edited_estimates(self) -> dict[str, Estimate]:
        """Each metric of the edits, a row an edit set."""
        return self.estimates(self.edited)

    def estimates(self, readout: Readout) -> dict[str, Estimate]:
        """Each metric of `results.csv` for these runs, over prompts."""
        clean, corrupted = self.clean.logit_diff, self.corrupted.logit_diff
        values = {
            "p_answer": readout.p_answer,
            "p_distractor": readout.p_distractor,
            "accuracy": readout.correct,
            "kl": readout.kl,
        }
        return {
            "logit_diff": self.bootstrap.mean(readout.logit_diff),
            "recovery": self.bootstrap.recovery(readout.logit_diff, clean, corrupted),
        } | {name: self.bootstrap.mean(value) for name, value in values.items() if value is not None}

    @property
    def data_title(self) -> str:
        """The model, the task and how many prompts: the last line of a figure's title."""
        n = len(self.prompts)
        return f"{self.shape.name}, {self.task_title}, {n} prompt{'s' if n > 1 else ''}"

    def prompt_table(self) -> pd.DataFrame:
        """The prompts, in the columns of `task=pairs`, with the baselines' logit differences."""
        import pandas as pd

        return pd.DataFrame(
            {
                "clean": [pair.clean for pair in self.prompts],
                "corrupt": [pair.corrupted for pair in self.prompts],
                "answer": [pair.answer for pair in self.prompts],
                "distractor": [pair.distractor for pair in self.prompts],
                "clean_logit_diff": self.clean.logit_diff[0],
                "corrupted_logit_diff": self.corrupted.logit_diff[0],
            }
        )

    def baseline_metrics(self) -> dict[str, float]:
        """Scalars of the clean and the corrupted run, with bounds."""
        metrics: dict[str, float] = {"n_prompts": len(self.prompts)}
        for run, readout in (("clean", self.clean), ("corrupted", self.corrupted)):
            for name, estimate in self.estimates(readout).items():
                if name not in ("recovery", "kl"):  # constants of a baseline
                    metrics |= scalars(f"{run}_{name}", estimate, 0)
        return metrics


def tidy_table(selectors: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """The tidy table: each row described by its `selectors`, then each estimate with its bounds."""
    import pandas as pd

    extra = [name for name in (selectors[0] if selectors else {}) if name not in SELECTORS]
    columns: dict[str, Any] = {name: [row.get(name) for row in selectors] for name in (*SELECTORS, *extra)}
    columns |= {name: pd.array(columns[name], dtype="Int64") for name in ("layer", "head")}
    for name, estimate in estimates.items():
        columns |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return pd.DataFrame(columns)


def scalars(name: str, estimate: Estimate, row: int) -> dict[str, float]:
    """One row of an estimate as `name`, `name_low`, `name_high`; bounds that are unknown are left out."""
    values = {name: estimate.value[row], f"{name}_low": estimate.low[row], f"{name}_high": estimate.high[row]}
    return {key: float(value) for key, value in values.items() if np.isfinite(value)}


@dataclass(frozen=True)
class Report:
    """What an intervention found: the table, scalars, figures by file name, and lines for the terminal.

    `draw` makes the figures, which takes longer than all else that is found of a few edits. `files` are further files
    of the run folder by name: pages (`.html`), tables (`.csv`), tensors (`.safetensors`).
    """

    table: pd.DataFrame
    metrics: dict[str, float]
    draw: Callable[[], dict[str, Figure]]
    summary: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    prompts: pd.DataFrame | None = None
    """The prompts that were measured, if not all of the task's."""

    provenance: dict[str, Any] = field(default_factory=dict)
    """What the run folder's provenance tells beside the model."""

    headline: str = "clean_logit_diff"
    """The metric that lists and summaries of runs show."""


class Intervention(LabConfig):
    """Base of all interventions. One that only looks plans nothing and keeps what `observe` returns."""

    pools_edits: ClassVar[bool] = False
    """Whether jobs of a sweep gain by being measured together: what they measure is small, and made by edits."""

    name: str

    @property
    @abstractmethod
    def title(self) -> str:
        """A few words for run names and figures, such as `patch z`."""

    @property
    def models(self) -> dict[str, ModelConfig]:
        """Those that it needs beside the run's own, by their keys in its config."""
        return {}

    @property
    def base(self) -> Run:
        """The run that the edits act on."""
        return "clean"

    def plan(self, engine: Engine) -> list[EditSet]:
        """The edit sets to evaluate; a `LabError` for a selector that the model or the prompts lack.

        The engine tells model and prompts, and what activations are where an edit's value depends on them.
        """
        return []

    def observe(self, engine: Engine) -> Any:
        """What the report needs beside the readout of the plan, such as estimates or activations."""
        return None

    @abstractmethod
    def report(self, measurement: Measurement) -> Report:
        """Table, scalars and figures from the readout of the plan, in the plan's order."""
