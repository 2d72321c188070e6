"""Grids of sites: what every intervention over component × layer × head × position shares.

An intervention that inherits from `GridIntervention` says which pass it edits and how it edits the sites of a row;
selectors, measurement, table, figures and ranking come from here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Self

from pydantic import model_validator
from typing_extensions import override

from ioi_lab.circuits.files import CircuitFile, cells_of_circuit
from ioi_lab.engine.edits import EditSet, Pass, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.baselines import Baselines, estimates_of
from ioi_lab.interventions.grid_measure import grid_result
from ioi_lab.interventions.grid_result import GridResult, GridTitle, Row, Sets, activation_of
from ioi_lab.interventions.random_sets import RandomSets
from ioi_lab.interventions.recovery import MetricName, engine_for
from ioi_lab.interventions.self_checks import checked_run
from ioi_lab.models.selectors import (
    Cell,
    IndexSelector,
    Place,
    PlacedHeadSelector,
    PositionSelector,
    all_but_placed,
    are_placed,
    cell_name,
    cells_of,
    check_selectors,
    check_with_circuit,
    placed_cells_of,
    placed_name,
    positions_of,
)
from ioi_lab.models.shape import HEAD_COMPONENTS, Component, ModelShape
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.reports.definitions import Method
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.stats.metrics import Readout


class GridIntervention(Intervention[GridResult]):
    """Edit `component` at each selected layer × head × position.

    `layer` and `head` take an index, a list or `all`; `head` also takes names (`"9.9"`), with `layer: all`, and names
    with positions (`"9.9@END"`), with `position: all`. Heads of `k` and `v` are key/value heads. `position` takes `all`
    (together), `each` (a position axis), a label, a token index, or a list of these. `sets`: edit each selected site
    alone, all `together`, or all of the component `except` them. `circuit`: instead of layers and heads, the
    `circuit.json` or the run folder of a circuit, whose heads (or, for `mlp_out`, MLPs) are selected. `metric`: what
    recovery is taken of (see `recovery`).
    """

    shares_passes = True

    component: Component = "z"
    layer: IndexSelector = "all"
    """An index, a list of indices, or all layers."""

    head: PlacedHeadSelector = "all"
    position: PositionSelector = "all"
    sets: Sets = "each"
    circuit: str | None = None
    """A circuit file, or a run folder with one, whose heads (or MLPs) are selected."""

    metric: MetricName = "logit_diff"
    """What effects are measured in: the logit difference, P(answer) − P(distractor), the KL from the clean pass, or the
    log of the answer's rank. Recovery is 1 in the clean pass and 0 in the corrupted one."""

    @model_validator(mode="after")
    def _selectors_fit(self) -> Self:
        check_selectors(self.component, self.layer, self.head)
        check_with_circuit(self.circuit, self.layer, self.head)
        if are_placed(self.head) and self.position != "all":
            raise LabError(
                f"intervention.position: got {self.position}, but head names positions already; expected 'all'"
            )
        return self

    @override
    def check(self) -> None:
        if self.circuit is not None:
            CircuitFile.read(self.circuit, "intervention.circuit")

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

    @property
    def definition(self) -> Mapping[str, str]:
        """The choices that define what an effect is, by their keys."""
        return {}

    @property
    def others_are(self) -> str | None:
        """What all heads but the selected ones are replaced by, if this leaves a circuit of heads; None otherwise."""
        return None

    @property
    def how(self) -> str:
        """What is done, for the question of the report: `their clean output is written into the corrupted prompt`."""
        return f"their {activation_of(self.component)} is edited ({self.details.partition(chr(10))[0]})"

    @property
    def methods(self) -> Sequence[Method]:
        """The definition of the edit and its source, for the report."""
        return ()

    @property
    def limits(self) -> Sequence[str]:
        """What effects of this edit do not show, in sentences, for the report."""
        return ()

    @abstractmethod
    def plan(self, rows: Sequence[Row], engine: Engine) -> list[EditSet]:
        """Return the edit set of each row."""

    def rows(self, shape: ModelShape, prompts: PromptPairs) -> list[Row]:
        """Return the rows by layer, then head, then position; sets have one row per position."""
        shape.check_component(self.component, "intervention.component")
        if self.sets != "each":
            return [self.row_of(cells, shape) for cells in self.selected_sets(shape, prompts)]
        if are_placed(self.head):
            cells = placed_cells_of(self.head, self.component, shape, prompts)
            return [Row([Site(self.component, *cell)], cell_name(*cell[:2])) for cell in cells]
        pairs = product(self._cells(shape), positions_of(self.position, prompts))
        return [Row([Site(self.component, *cell, position)], cell_name(*cell)) for cell, position in pairs]

    def selected_sets(self, shape: ModelShape, prompts: PromptPairs) -> list[list[Place]]:
        """Return the layers, heads and positions that are selected together: one set per position of `position`."""
        if are_placed(self.head):
            return [list(placed_cells_of(self.head, self.component, shape, prompts))]
        cells = self._cells(shape)
        return [[(*cell, position) for cell in cells] for position in positions_of(self.position, prompts)]

    def row_of(self, chosen: Sequence[Place], shape: ModelShape) -> Row:
        """Return the row of a set: its sites, or with `sets: except` all others of the component.

        Raises a `LabError` if nothing is left to edit.
        """
        placed = are_placed(self.head)
        label = " ".join(placed_name(*place) if placed else cell_name(*place[:2]) for place in chosen)
        places = chosen
        if self.sets == "except":
            label = f"all but {label}"
            places = all_but_placed(chosen, self.component, shape) if placed else self._others(chosen, shape)
        _check_not_empty(places)
        return Row([Site(self.component, *place) for place in places], label)

    def random_rows(self, shape: ModelShape, prompts: PromptPairs) -> list[tuple[int, Row]]:
        """Return the rows of random sets, each with the index of the row that it is compared with; none by default."""
        return []

    def _others(self, chosen: Sequence[Place], shape: ModelShape) -> list[Place]:
        """Return all cells of the component but those of a set, at the position that they share."""
        kept, position = {place[:2] for place in chosen}, chosen[0][2]
        return [(*cell, position) for cell in cells_of(self.component, "all", "all", shape) if cell not in kept]

    def _cells(self, shape: ModelShape) -> list[Cell]:
        if self.circuit is None:
            return cells_of(self.component, self.layer, self.head, shape)
        return cells_of_circuit(self.circuit, self.component, shape, "intervention.circuit")

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int:
        return len(self.rows(shape, prompts)) + len(self.random_rows(shape, prompts))

    @override
    def measure(self, engine: Engine) -> GridResult:
        engine = engine_for(engine, self.metric)
        baselines = Baselines.measure(engine)
        rows = self.rows(engine.shape, engine.prompts)
        random = self.random_rows(engine.shape, engine.prompts)
        both, checks = checked_run(engine, self.plan([*rows, *(row for _, row in random)], engine), self.base)
        readout, noun = both.select(slice(len(rows))), self._noun(engine.shape)
        controls = self._random_sets(engine, random, readout, both.select(slice(len(rows), None))) if random else None
        return grid_result(engine, baselines, rows, readout, checks, self.base, noun, self.metric, controls)

    def _random_sets(
        self, engine: Engine, random: Sequence[tuple[int, Row]], readout: Readout, of_random: Readout
    ) -> RandomSets:
        unedited = engine.baseline(self.base).logit_diff.mean()
        chosen, drawn = (abs(each.logit_diff.mean(axis=1) - unedited) for each in (readout, of_random))
        return RandomSets(
            are_kept=self.sets == "except",
            labels=[row.label for _, row in random],
            estimates=estimates_of(engine, of_random),
            of=[of for of, _ in random],
            distance=drawn,
            chosen=chosen,
        )

    @override
    def report(self, result: GridResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.grid_report import GridReport

        return GridReport(result, self._grid_title, context).report()

    @property
    def _grid_title(self) -> GridTitle:
        return GridTitle(
            self.action,
            self.component,
            self.details,
            self.base,
            self.sets,
            self.others_are,
            self.definition,
            self.how,
            self.methods,
            self.limits,
        )

    def _noun(self, shape: ModelShape) -> str:
        if self.sets != "each":
            return "set"
        return shape.head_noun(self.component) if self.component in HEAD_COMPONENTS else "site"


def _check_not_empty(cells: Sequence[object]) -> None:
    if not cells:
        raise LabError(
            "intervention.sets: got 'except' of everything, which leaves nothing to edit; name what is kept by "
            "intervention.layer=… or \"intervention.head=['9.9','5.5@S2']\""
        )
