"""Grids of sites: what every intervention over component × layer × head × position shares.

An intervention that inherits from `GridIntervention` says which pass it edits and how it edits the sites of a row;
selectors, measurement, table, figures and ranking come from here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from ioi_lab.engine.edits import EditSet, Pass, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention, Result
from ioi_lab.interventions.baselines import Baselines, estimates_of
from ioi_lab.interventions.self_checks import SelfChecks, checked_run
from ioi_lab.models.selectors import (
    HeadSelector,
    IndexSelector,
    PositionSelector,
    cell_name,
    cells_of,
    check_selectors,
    positions_of,
)
from ioi_lab.models.shape import HEAD_COMPONENTS, Component, ModelShape
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Readout
from ioi_lab.tasks.prompts import Position, PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.reports.report import Report, ReportContext

Sets = Literal["each", "together", "except"]


@dataclass(frozen=True)
class Row:
    """One row of the results: the sites that are edited together, and a label such as `9.9` or `layer 3`."""

    sites: Sequence[Site]
    label: str

    @property
    def position(self) -> Position:
        """The position that the row's sites share."""
        return self.sites[0].position

    @property
    def site(self) -> Site | None:
        """The row's site, if there is only one."""
        return self.sites[0] if len(self.sites) == 1 else None


@dataclass(frozen=True)
class GridResult(Result):
    """The measured rows of a grid."""

    rows: list[Row]
    estimates: dict[str, Estimate]
    """Each metric of `results.csv`, row by row."""

    effect: Estimate
    """The change of recovery by the edits: recovery itself if the corrupted pass is edited, else recovery − 1."""

    ranking: list[int]
    """The rows, from the largest effect (by absolute value) to the smallest."""

    noun: str
    """What a row is: a head, a key/value head, a site or a set."""

    @property
    def prompts(self) -> PromptPairs:
        """The prompts that were measured."""
        return self.baselines.prompts


class GridIntervention(Intervention[GridResult]):
    """Edit `component` at each selected layer × head × position.

    `layer` and `head` take an index, a list or `all`; `head` also takes names (`"9.9"`), with `layer: all`. Heads of
    `k` and `v` are key/value heads. `position` takes `all` (together), `each` (a position axis), a label, a token
    index, or a list of these. `sets`: edit each selected site alone, all `together`, or all of the component `except`
    them.
    """

    shares_passes = True

    component: Component = "z"
    layer: IndexSelector = "all"
    head: HeadSelector = "all"
    position: PositionSelector = "all"
    sets: Sets = "each"

    @model_validator(mode="after")
    def _selectors_fit(self) -> Self:
        check_selectors(self.component, self.layer, self.head)
        return self

    @property
    @abstractmethod
    def base(self) -> Pass:
        """The pass that is edited."""

    @property
    @abstractmethod
    def action(self) -> str:
        """The start of a figure's title, such as `Patching`."""

    @property
    @abstractmethod
    def details(self) -> str:
        """The end of that line, such as `denoise: clean → corrupted`."""

    @abstractmethod
    def plan(self, rows: Sequence[Row], engine: Engine) -> list[EditSet]:
        """Return the edit set of each row."""

    def rows(self, shape: ModelShape, prompts: PromptPairs) -> list[Row]:
        """Return the rows by layer, then head, then position; sets have one row per position."""
        shape.check_component(self.component, "intervention.component")
        cells = cells_of(self.component, self.layer, self.head, shape)
        positions = positions_of(self.position, prompts)
        if self.sets == "each":
            pairs = product(cells, positions)
            return [Row([Site(self.component, *cell, position)], cell_name(*cell)) for cell, position in pairs]
        label = " ".join(cell_name(*cell) for cell in cells)
        if self.sets == "except":
            cells = [cell for cell in cells_of(self.component, "all", "all", shape) if cell not in cells]
            label = f"all but {label}"
        if not cells:
            raise LabError("intervention.sets: got 'except' of everything, which leaves nothing to edit")
        return [Row([Site(self.component, *cell, position) for cell in cells], label) for position in positions]

    @override
    def measure(self, engine: Engine) -> GridResult:
        baselines = Baselines.measure(engine)
        rows = self.rows(engine.shape, engine.prompts)
        readout, checks = checked_run(engine, self.plan(rows, engine), self.base)
        return self._result(engine, baselines, rows, readout, checks)

    def _result(
        self, engine: Engine, baselines: Baselines, rows: list[Row], readout: Readout, checks: SelfChecks
    ) -> GridResult:
        """Return the result of rows, given the readout of their edits."""
        estimates = estimates_of(engine, readout)
        # An edit without effect leaves the base pass, whose recovery is 0 if it is the corrupted one and 1 if clean.
        effect = estimates["recovery"].minus(0.0 if self.base == "corrupted" else 1.0)
        return GridResult(
            baselines=baselines,
            checks=checks,
            rows=rows,
            estimates=estimates,
            effect=effect,
            ranking=np.argsort(-np.abs(effect.value), kind="stable").tolist(),
            noun=self._noun(engine.shape),
        )

    @override
    def report(self, result: GridResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.grid_report import GridReport

        return GridReport(self, result, context).report()

    def _noun(self, shape: ModelShape) -> str:
        if self.sets != "each":
            return "set"
        return shape.head_noun(self.component) if self.component in HEAD_COMPONENTS else "site"
