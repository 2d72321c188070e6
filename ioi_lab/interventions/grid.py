"""A grid of sites, one edit each: what every intervention over component × layer × head × position shares.

An intervention that inherits from `GridIntervention` says which run it edits and what it does at a site; selectors,
table, figures and ranking come from here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from ioi_lab import plots
from ioi_lab.edits import HEAD_COMPONENTS, Component, Edit, EditSet, ModelShape, Site, check_range
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention, Measurement, Report, scalars
from ioi_lab.metrics import FEWEST_PROMPTS, Array
from ioi_lab.tasks.prompts import Position, PromptPairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Index = Annotated[int, Field(ge=0)]
IndexSelector = Literal["all"] | Index | Annotated[list[Index], Field(min_length=1)]
PositionSelector = Position | Annotated[list[Position], Field(min_length=1)]

MOST_BARS: Final = 15
SMALLEST_BAR: Final = 0.02
"""Bars below this share of the longest are left out of the ranking figure."""

MARKED: Final = 3


class GridIntervention(Intervention):
    """Edit `component` at each selected layer × head × position, one at a time.

    `layer` and `head` take an index, a list or `all`. `position`: `all` (together), `each` (a position axis), a label,
    a token index, or a list of these.
    """

    component: Component
    layer: IndexSelector
    head: IndexSelector
    position: PositionSelector

    @model_validator(mode="after")
    def _head_needs_heads(self) -> GridIntervention:
        if self.head != "all" and self.component not in HEAD_COMPONENTS:
            raise LabError(f"intervention.head: got {self.head}, but {self.component} has no heads; expected 'all'")
        return self

    @abstractmethod
    def edit(self, site: Site) -> Edit:
        """What is done at a site."""

    @property
    @abstractmethod
    def action(self) -> str:
        """What is done, as a figure's title begins, such as `Patching`."""

    @property
    @abstractmethod
    def details(self) -> str:
        """How it is done, as that line ends, such as `denoise: clean → corrupted`."""

    def sites(self, shape: ModelShape, prompts: PromptPairs) -> list[Site]:
        """The grid: layer, then head, then position."""
        layers = _indices("layer", self.layer, shape.n_layers, shape.name)
        heads: list[int | None] = [None]
        if self.component in HEAD_COMPONENTS:
            heads = list(_indices("head", self.head, shape.n_heads, shape.name))
        positions = _positions(self.position, prompts)
        return [Site(self.component, *cell) for cell in product(layers, heads, positions)]

    def plan(self, shape: ModelShape, prompts: PromptPairs) -> list[EditSet]:
        """One edit a site."""
        return [(self.edit(site),) for site in self.sites(shape, prompts)]

    def report(self, measurement: Measurement) -> Report:
        """Recovery at each site: table, head map or layer × position map, and the strongest sites ranked."""
        sites = self.sites(measurement.shape, measurement.prompts)
        findings = _Findings(self, measurement, sites)
        return Report(
            table=measurement.table([_selectors(site) for site in sites]),
            metrics=findings.metrics(),
            figures=findings.figures(),
            summary=findings.summary(),
        )


class _Findings:
    """The measured grid of sites, ranked by the size of their effect, as scalars, figures and lines of text."""

    def __init__(self, intervention: GridIntervention, measurement: Measurement, sites: list[Site]) -> None:
        self._intervention = intervention
        self._measurement = measurement
        self._sites = sites
        # An edit without effect leaves the base run, whose recovery is 0 if it is the corrupted one and 1 if the clean.
        unedited = 0.0 if intervention.base == "corrupted" else 1.0
        self._effect = measurement.edited_estimates["recovery"].minus(unedited)
        self._ranking: list[int] = np.argsort(-np.abs(self._effect.value), kind="stable").tolist()

    def metrics(self) -> dict[str, float]:
        """The baselines, and all metrics of the site with the largest effect (`best_row` of `results.csv`, from 0)."""
        best = self._ranking[0]
        site = self._sites[best]
        metrics = self._measurement.baseline_metrics() | {
            "n_edits": len(self._sites),
            "best_row": best,
            "best_layer": site.layer,
        }
        if site.head is not None:
            metrics["best_head"] = site.head
        for name, estimate in self._measurement.edited_estimates.items():
            metrics |= scalars(f"best_{name}", estimate, best)
        return metrics

    def summary(self) -> list[str]:
        """The five strongest sites, on the scale of the figures."""
        noun = "heads" if self._intervention.component in HEAD_COMPONENTS else "sites"
        effect = self._effect
        note = "with 95 % intervals over prompts"
        if not effect.has_bounds:
            note = f"no intervals (fewer than {FEWEST_PROMPTS} prompts, or a gap that may vanish)"
        lines = [f"top {noun}{self._where} by {' '.join(self._scale_label.split())}, {note}:"]
        for row in self._ranking[:5]:
            interval = f"   [{effect.low[row]:.3f}, {effect.high[row]:.3f}]" if effect.has_bounds else ""
            lines.append(f"  {self._name(row):<14} {effect.value[row]:7.3f}{interval}")
        return lines

    def figures(self) -> dict[str, Figure]:
        """The map of the grid in the shape that it has, and the ranking."""
        heads = list(dict.fromkeys(site.head for site in self._sites if site.head is not None))
        layers = _axis("layer", list(dict.fromkeys(site.layer for site in self._sites)))
        positions = list(dict.fromkeys(site.position for site in self._sites))
        names = [self._measurement.prompts.position_name(position) for position in positions]
        grid = self._effect.value.reshape(len(layers.ticks), max(1, len(heads)), len(positions))
        if heads:
            panels = {name if len(names) > 1 else "": grid[:, :, i] for i, name in enumerate(names)}
            figures = {"recovery_by_head": self._head_maps(panels, layers, _axis("head", heads))}
        elif len(positions) > 1:
            figures = {"recovery_by_position": self._position_map(grid[:, 0], layers, _axis("position", names))}
        else:
            figures = {"recovery_by_layer": self._layer_line(layers)}
        return figures | {"top_effects": self._ranked_bars()}

    def _head_maps(self, panels: dict[str, Array], layers: plots.Axis, heads: plots.Axis) -> Figure:
        mark = MARKED if len(panels) == 1 else 0
        note = "\noutlined: the strongest" if mark else ""
        return plots.heat_maps(panels, layers, heads, self._title + note, self._scale_label, mark)

    def _position_map(self, effect: Array, layers: plots.Axis, positions: plots.Axis) -> Figure:
        return plots.heat_maps({"": effect}, layers, positions, self._title, self._scale_label)

    def _layer_line(self, layers: plots.Axis) -> Figure:
        return plots.interval_line(
            layers,
            self._effect.value,
            self._effect.low,
            self._effect.high,
            value_label=self._scale_label,
            title=self._title,
        )

    def _ranked_bars(self) -> Figure:
        sizes = np.abs(self._effect.value)
        top = [row for row in self._ranking[:MOST_BARS] if sizes[row] >= SMALLEST_BAR * sizes.max()]
        has_heads = self._intervention.component in HEAD_COMPONENTS
        return plots.ranked_bars(
            plots.Axis("layer.head" if has_heads else "site", [self._name(row) for row in top]),
            self._effect.value[top],
            self._effect.low[top],
            self._effect.high[top],
            value_label=self._scale_label,
            title=f"{self._title}, strongest first",
        )

    @property
    def _scale_label(self) -> str:
        if self._intervention.base == "corrupted":
            return "recovery of the logit difference\n(0 = corrupted, 1 = clean)"
        return "change of recovery\n(0 = clean, −1 = corrupted)"

    @property
    def _where(self) -> str:
        """The position that all sites share, unless that is the whole prompt."""
        shared = {site.position for site in self._sites}
        if len(shared) > 1 or shared == {"all"}:
            return ""
        return f" at {self._measurement.prompts.position_name(shared.pop())}"

    @property
    def _title(self) -> str:
        n = len(self._measurement.prompts)
        what = f"{self._intervention.action} {self._intervention.component}{self._where}, {self._intervention.details}"
        data = f"{self._measurement.shape.name}, {self._measurement.task_title}, {n} prompt{'s' if n > 1 else ''}"
        return f"{what}\n{data}"

    def _name(self, row: int) -> str:
        """Such as `9.9`, or `layer 3` where there are no heads; with the position where positions differ."""
        site = self._sites[row]
        name = f"{site.layer}.{site.head}" if site.head is not None else f"layer {site.layer}"
        if len({other.position for other in self._sites}) == 1:
            return name
        return f"{name} @ {self._measurement.prompts.position_name(site.position)}"


def _axis(label: str, ticks: Sequence[object]) -> plots.Axis:
    return plots.Axis(label, [str(tick) for tick in ticks])


def _indices(key: str, selector: Literal["all"] | int | list[int], size: int, model_name: str) -> list[int]:
    if selector == "all":
        return list(range(size))
    chosen = [selector] if isinstance(selector, int) else selector
    for index in chosen:
        check_range(f"intervention.{key}", index, size, model_name)
    return list(dict.fromkeys(chosen))


def _positions(selector: Position | list[Position], prompts: PromptPairs) -> list[Position]:
    if selector == "each":
        return prompts.each_position()
    chosen = selector if isinstance(selector, list) else [selector]
    if "each" in chosen:
        raise LabError(f"intervention.position: got {chosen}, but 'each' stands for every position, alone")
    for position in chosen:
        prompts.check_position(position, "intervention.position", words=("all", "each"))
    return list(dict.fromkeys(chosen))


def _selectors(site: Site) -> dict[str, Any]:
    return {"component": site.component, "layer": site.layer, "head": site.head, "position": site.position}
