"""A grid of sites: what every intervention over component × layer × head × position shares.

An intervention that inherits from `GridIntervention` says which run it edits and what it does at a site; selectors,
table, figures and ranking come from here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from ioi_lab import plots
from ioi_lab.edits import HEAD_COMPONENTS, Component, Edit, EditSet, ModelShape, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention, Measurement, Report, scalars, tidy_table
from ioi_lab.interventions.heads import HeadName, head_name, heads_of
from ioi_lab.metrics import FEWEST_PROMPTS, Array
from ioi_lab.tasks.prompts import Position, PromptPairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.engine import Engine

Index = Annotated[int, Field(ge=0)]
IndexSelector = Literal["all"] | Index | Annotated[list[Index], Field(min_length=1)]
HeadSelector = IndexSelector | HeadName | Annotated[list[HeadName], Field(min_length=1)]
PositionSelector = Position | Annotated[list[Position], Field(min_length=1)]
Sets = Literal["each", "together", "except"]

MOST_BARS: Final = 15
SMALLEST_BAR: Final = 0.02
"""Bars below this share of the longest are left out of the ranking figure."""

MARKED: Final = 3


@dataclass(frozen=True)
class Row:
    """One row of the results: the sites that are edited together, and how the row is called."""

    sites: Sequence[Site]
    label: str
    """Such as `9.9`, or `layer 3` where there are no heads."""

    @property
    def position(self) -> Position:
        """The position that the row's sites share."""
        return self.sites[0].position

    @property
    def site(self) -> Site | None:
        """The row's site, if it is one alone."""
        return self.sites[0] if len(self.sites) == 1 else None


class GridIntervention(Intervention):
    """Edit `component` at each selected layer × head × position.

    `layer` and `head` take an index, a list or `all`; `head` also takes names (`"9.9"`), with `layer: all`. Of `k` and
    `v`, heads are key/value heads. `position`: `all` (together), `each` (a position axis), a label, a token index, or a
    list of these. `sets`: edit each selected site alone, all `together`, or all of the component `except` them.
    """

    pools_edits = True

    component: Component
    layer: IndexSelector
    head: HeadSelector
    position: PositionSelector
    sets: Sets

    @model_validator(mode="after")
    def _selectors_fit(self) -> GridIntervention:
        check_selectors(self.component, self.layer, self.head)
        return self

    @abstractmethod
    def editor(self, engine: Engine) -> Callable[[Site], Edit]:
        """What is done at a site."""

    @property
    @abstractmethod
    def action(self) -> str:
        """What is done, as a figure's title begins, such as `Patching`."""

    @property
    @abstractmethod
    def details(self) -> str:
        """How it is done, as that line ends, such as `denoise: clean → corrupted`."""

    def rows(self, shape: ModelShape, prompts: PromptPairs) -> list[Row]:
        """What is edited together: layer, then head, then position; of sets, only position."""
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

    def plan(self, engine: Engine) -> list[EditSet]:
        """One edit a site."""
        edit = self.editor(engine)
        return [[edit(site) for site in row.sites] for row in self.rows(engine.shape, engine.prompts)]

    def report(self, measurement: Measurement) -> Report:
        """Recovery of each row: table, head map or layer × position map, and the strongest rows ranked."""
        rows = self.rows(measurement.shape, measurement.prompts)
        findings = Findings(self, measurement, rows)
        return Report(
            table=tidy_table([self._selectors(row) for row in rows], measurement.edited_estimates),
            metrics=findings.metrics(),
            draw=findings.figures,
            summary=findings.summary(),
            headline="best_recovery",
        )

    def _selectors(self, row: Row) -> dict[str, Any]:
        if row.site is None or self.sets != "each":
            return {"component": self.component, "position": row.position, "sites": row.label}
        site = row.site
        return {"component": site.component, "layer": site.layer, "head": site.head, "position": site.position}


class Findings:
    """The measured rows of a grid, ranked by the size of their effect, as scalars, figures and lines of text."""

    def __init__(self, intervention: GridIntervention, measurement: Measurement, rows: list[Row]) -> None:
        self._intervention = intervention
        self._measurement = measurement
        self._rows = rows
        # An edit without effect leaves the base run, whose recovery is 0 if it is the corrupted one and 1 if the clean.
        unedited = 0.0 if intervention.base == "corrupted" else 1.0
        self._effect = measurement.edited_estimates["recovery"].minus(unedited)
        self._ranking: list[int] = np.argsort(-np.abs(self._effect.value), kind="stable").tolist()

    def metrics(self) -> dict[str, float]:
        """The baselines, and all metrics of the row with the largest effect (`best_row` of `results.csv`, from 0)."""
        best = self._ranking[0]
        site = self._rows[best].site
        metrics = self._measurement.baseline_metrics() | {"n_edits": len(self._rows), "best_row": best}
        if site is not None:
            metrics["best_layer"] = site.layer
            if site.head is not None:
                metrics["best_head"] = site.head
        for name, estimate in self._measurement.edited_estimates.items():
            metrics |= scalars(f"best_{name}", estimate, best)
        return metrics

    def summary(self) -> list[str]:
        """The five strongest rows, on the scale of the figures."""
        effect = self._effect
        note = "with 95 % intervals over prompts"
        if not effect.has_bounds:
            note = f"no intervals (fewer than {FEWEST_PROMPTS} prompts, or a gap that may vanish)"
        lines = [f"top {self._noun}s{self._where} by {' '.join(self.scale_label.split())}, {note}:"]
        for row in self._ranking[:5]:
            interval = f"   [{effect.low[row]:.3f}, {effect.high[row]:.3f}]" if effect.has_bounds else ""
            lines.append(f"  {self._name(row):<14} {effect.value[row]:7.3f}{interval}")
        return lines

    def figures(self) -> dict[str, Figure]:
        """The map of the grid in the shape that it has, and the ranking."""
        if not self._is_rectangle:
            return {"top_effects": self._ranked_bars()}
        sites = [row.sites[0] for row in self._rows]
        heads = list(dict.fromkeys(site.head for site in sites if site.head is not None))
        layers = _axis("layer", list(dict.fromkeys(site.layer for site in sites)))
        positions = list(dict.fromkeys(site.position for site in sites))
        names = [self._measurement.prompts.position_name(position) for position in positions]
        grid = self._effect.value.reshape(len(layers.ticks), max(1, len(heads)), len(positions))
        if heads:
            panels = {name if len(names) > 1 else "": grid[:, :, i] for i, name in enumerate(names)}
            figures = {"recovery_by_head": self._head_maps(panels, layers, _axis(self._noun, heads))}
        elif len(positions) > 1:
            figures = {"recovery_by_position": self._position_map(grid[:, 0], layers, _axis("position", names))}
        else:
            figures = {"recovery_by_layer": self._layer_line(layers)}
        return figures | {"top_effects": self._ranked_bars()}

    @property
    def labels(self) -> list[str]:
        """What each row is called in figures."""
        return [self._name(row) for row in range(len(self._rows))]

    @property
    def _is_rectangle(self) -> bool:
        """Whether the rows are single sites, and every layer has the same heads and positions."""
        if self._intervention.sets != "each":
            return False
        sites = [row.sites[0] for row in self._rows]
        axes = [dict.fromkeys(getattr(site, name) for site in sites) for name in ("layer", "head", "position")]
        return [(site.layer, site.head, site.position) for site in sites] == list(product(*axes))

    def _head_maps(self, panels: dict[str, Array], layers: plots.Axis, heads: plots.Axis) -> Figure:
        mark = MARKED if len(panels) == 1 else 0
        note = "\noutlined: the strongest" if mark else ""
        return plots.heat_maps(panels, layers, heads, self.title + note, self.scale_label, mark)

    def _position_map(self, effect: Array, layers: plots.Axis, positions: plots.Axis) -> Figure:
        return plots.heat_maps({"": effect}, layers, positions, self.title, self.scale_label)

    def _layer_line(self, layers: plots.Axis) -> Figure:
        return plots.interval_line(
            layers,
            self._effect.value,
            self._effect.low,
            self._effect.high,
            value_label=self.scale_label,
            title=self.title,
        )

    def _ranked_bars(self) -> Figure:
        sizes = np.abs(self._effect.value)
        top = [row for row in self._ranking[:MOST_BARS] if sizes[row] >= SMALLEST_BAR * sizes.max()]
        axis_label = {"head": "layer.head", "key/value head": "layer.key/value head"}.get(self._noun, self._noun)
        return plots.ranked_bars(
            plots.Axis(axis_label, [self._name(row) for row in top]),
            self._effect.value[top],
            self._effect.low[top],
            self._effect.high[top],
            value_label=self.scale_label,
            title=f"{self.title}, strongest first",
        )

    @property
    def _noun(self) -> str:
        """What a row is."""
        if self._intervention.sets != "each":
            return "set"
        component = self._intervention.component
        return self._measurement.shape.head_noun(component) if component in HEAD_COMPONENTS else "site"

    @property
    def scale_label(self) -> str:
        """What the values of all figures are."""
        if self._intervention.base == "corrupted":
            return "recovery of the logit difference\n(0 = corrupted, 1 = clean)"
        return "change of recovery\n(0 = clean, −1 = corrupted)"

    @property
    def _where(self) -> str:
        """The position that all rows share, unless that is the whole prompt."""
        shared = {row.position for row in self._rows}
        if len(shared) > 1 or shared == {"all"}:
            return ""
        return f" at {self._measurement.prompts.position_name(shared.pop())}"

    @property
    def title(self) -> str:
        """What was done, where, on what: the title of all figures."""
        what = f"{self._intervention.action} {self._intervention.component}{self._where}, {self._intervention.details}"
        return f"{what}\n{self._measurement.data_title}"

    def _name(self, row: int) -> str:
        """The row's label, with the position where positions differ."""
        name = self._rows[row].label
        if len({other.position for other in self._rows}) == 1:
            return name
        return f"{name} @ {self._measurement.prompts.position_name(self._rows[row].position)}"


def _axis(label: str, ticks: Sequence[object]) -> plots.Axis:
    return plots.Axis(label, [str(tick) for tick in ticks])


def cell_name(layer: int, head: int | None) -> str:
    """`9.9`, or `layer 9` where there are no heads."""
    return f"layer {layer}" if head is None else head_name((layer, head))


def check_selectors(component: Component, layer: Any, head: Any) -> None:
    """Raise a `LabError` for heads of a component that has none, and for a layer beside heads that name theirs."""
    if head != "all" and component not in HEAD_COMPONENTS:
        raise LabError(f"intervention.head: got {head}, but {component} has no heads; expected 'all'")
    if head_names_in(head) and layer != "all":
        raise LabError(f"intervention.layer: got {layer}, but head names its layers already; expected 'all'")


def cells_of(component: Component, layer: Any, head: Any, shape: ModelShape) -> list[tuple[int, int | None]]:
    """Layer and head (None where there are none) of each site that the selectors stand for.

    A `LabError` for a layer or head that the model lacks.
    """
    if names := head_names_in(head):
        return list(heads_of(names, shape, component, "intervention.head"))
    layers = indices_of(layer, shape.n_layers)
    for index in layers:
        shape.check_layer(index, "intervention.layer")
    heads: list[int | None] = [None]
    if component in HEAD_COMPONENTS:
        chosen = indices_of(head, shape.heads(component))
        for index in chosen:
            shape.check_head(component, index, "intervention.head")
        heads = list(chosen)
    return list(product(layers, heads))


def head_names_in(selector: Any) -> list[str | float]:
    """The names of heads in a selector; none where it holds indices or `all`."""
    chosen = selector if isinstance(selector, list) else [selector]
    return [name for name in chosen if isinstance(name, str | float) and name != "all"]


def indices_of(selector: Any, size: int) -> list[int]:
    """The indices that a selector stands for, of `size`, each once."""
    if selector == "all":
        return list(range(size))
    return list(dict.fromkeys([selector] if isinstance(selector, int) else selector))


def positions_of(selector: Position | list[Position], prompts: PromptPairs) -> list[Position]:
    """The positions that a selector stands for; a `LabError` for one that a prompt lacks."""
    if selector == "each":
        return prompts.each_position()
    chosen = selector if isinstance(selector, list) else [selector]
    if "each" in chosen:
        raise LabError(f"intervention.position: got {chosen}, but 'each' stands for every position, alone")
    for position in chosen:
        prompts.check_position(position, "intervention.position", words=("all", "each"))
    return list(dict.fromkeys(chosen))
