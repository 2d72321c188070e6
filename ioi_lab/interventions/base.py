"""The base of all interventions: a checked config that measures with an engine and reports on the result."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ioi_lab.config import LabConfig

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.baselines import Baselines
    from ioi_lab.interventions.self_checks import SelfChecks
    from ioi_lab.models.loading import ModelConfig
    from ioi_lab.models.shape import ModelShape
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import PromptPairs


@dataclass(frozen=True)
class Result:
    """The base of all results: arrays, names and every number that is derived from them; no text and no plots."""

    baselines: Baselines
    """The unedited passes over the prompts that were measured."""

    checks: SelfChecks
    """The self-checks of the measurement, which have passed."""


ResultT = TypeVar("ResultT", bound=Result)


class Intervention(LabConfig, Generic[ResultT]):
    """The base of all interventions. The fields of a subclass are its config keys."""

    shares_passes: ClassVar[bool] = False
    """Whether jobs of a sweep gain by sharing passes: their measurements are small and made of edits."""

    name: str
    """The name in tables, run folders and on dashboards."""

    @property
    @abstractmethod
    def title(self) -> str:
        """A few words for the names of runs and figures, such as `patch z`."""

    @property
    def models(self) -> Mapping[str, ModelConfig]:
        """Models that are needed in addition to the run's own, by their keys in the config."""
        return {}

    @property
    def named(self) -> Mapping[str, Mapping[str, Any]]:
        """The configs of options that are known by their names alone, such as other tasks: results depend on them."""
        return {}

    @abstractmethod
    def measure(self, engine: Engine) -> ResultT:
        """Measure on the engine's model and prompts.

        Raises a `LabError` for a selector that the model or the prompts do not have, and if a self-check fails.
        """

    def measure_in(self, engine: Engine, folder: Path | None) -> ResultT:
        """Measure; what takes long keeps checkpoints in the run's folder. `folder`: None without one."""
        return self.measure(engine)

    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int | None:
        """Return about how many edited passes each prompt takes, before anything is run; None if that is not known.

        Raises a `LabError` for a selector that the model or the prompts do not have.
        """
        return None

    @abstractmethod
    def report(self, result: ResultT, context: ReportContext) -> Report:
        """Turn the result into a table, scalars, figures and sentences."""
