"""The report of a grid: its table, the map in the shape of the grid, and the strongest rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.interventions.grid_result import GridResult, GridTitle, Row
from ioi_lab.models.selectors import label_at, shared_position
from ioi_lab.reports import plots
from ioi_lab.reports.report import Report, ReportContext, scalars, tidy_table
from ioi_lab.reports.wording import interval_column
from ioi_lab.stats.bootstrap import MIN_PROMPTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_BARS: Final = 15
MIN_BAR: Final = 0.02
"""Bars below this share of the longest are left out of the ranking figure."""

OUTLINED: Final = 3
"""How many cells of a head map are outlined."""

SUMMARY_ROWS: Final = 5
RECOVERY: Final = "recovery of the logit difference\n(0 = corrupted, 1 = clean)"


class GridReport:
    """The rows of a grid, ranked by the size of their effect, as a table, scalars, figures and sentences."""

    def __init__(self, result: GridResult, title: GridTitle, context: ReportContext) -> None:
        self._result = result
        self._title = title
        self._where = shared_position([row.position for row in result.rows], result.prompts)
        what = f"{title.action} {title.component}{self._where}, {title.details}"
        self.title = f"{what}\n{context.data_title(len(result.prompts))}"
        positions = [row.position for row in result.rows]
        self.labels = [label_at(row.label, row.position, positions, result.prompts) for row in result.rows]

    def report(self) -> Report:
        """Return the whole report."""
        return Report(
            table=tidy_table([self._selectors(row) for row in self._result.rows], self._result.estimates),
            metrics=self._metrics(),
            draw=self.figures,
            summary=self._summary(),
            headline="best_recovery",
        )

    def figures(self) -> dict[str, Figure]:
        """Return the map of the grid in the shape that it has, and the ranking."""
        if not self._is_rectangle:
            return {"top_effects": self._ranked_bars()}
        sites = [row.sites[0] for row in self._result.rows]
        heads = list(dict.fromkeys(site.head for site in sites if site.head is not None))
        layers = _axis("layer", list(dict.fromkeys(site.layer for site in sites)))
        positions = list(dict.fromkeys(site.position for site in sites))
        names = [self._result.prompts.position_name(position) for position in positions]
        grid = self._result.effect.value.reshape(len(layers.ticks), max(1, len(heads)), len(positions))
        if heads:
            panels = {name if len(names) > 1 else "": grid[:, :, i] for i, name in enumerate(names)}
            figures = {"recovery_by_head": self._head_maps(panels, layers, _axis(self._result.noun, heads))}
        elif len(positions) > 1:
            panels = {"": grid[:, 0]}
            axes = layers, _axis("position", names)
            figures = {"recovery_by_position": plots.heat_maps(panels, *axes, self.title, self._scale_label)}
        else:
            figures = {"recovery_by_layer": self._layer_line(layers)}
        return figures | {"top_effects": self._ranked_bars()}

    def _selectors(self, row: Row) -> dict[str, Any]:
        if row.site is None or self._title.sets != "each":
            return {"component": self._title.component, "position": row.position, "sites": row.label}
        site = row.site
        return {"component": site.component, "layer": site.layer, "head": site.head, "position": site.position}

    def _metrics(self) -> dict[str, float]:
        """The baselines, and all metrics of the row with the largest effect (`best_row` of `results.csv`, from 0)."""
        best = self._result.ranking[0]
        site = self._result.rows[best].site
        metrics = self._result.baselines.metrics() | {"n_edits": len(self._result.rows), "best_row": best}
        if site is not None:
            metrics["best_layer"] = site.layer
            if site.head is not None:
                metrics["best_head"] = site.head
        for name, estimate in self._result.estimates.items():
            metrics |= scalars(f"best_{name}", estimate, best)
        return metrics

    def _summary(self) -> list[str]:
        """The strongest rows, on the scale of the figures."""
        effect = self._result.effect
        note = "with 95 % intervals over prompts"
        if not effect.has_bounds:
            note = f"no intervals (fewer than {MIN_PROMPTS} prompts, or a gap that may vanish)"
        lines = [f"top {self._result.noun}s{self._where} by {' '.join(self._scale_label.split())}, {note}:"]
        for row in self._result.ranking[:SUMMARY_ROWS]:
            lines.append(f"  {self.labels[row]:<14} {interval_column(effect, row)}")
        return lines

    @property
    def _is_rectangle(self) -> bool:
        """Whether the rows are single sites, and every layer has the same heads and positions."""
        if self._title.sets != "each":
            return False
        sites = [row.sites[0] for row in self._result.rows]
        axes = [dict.fromkeys(getattr(site, name) for site in sites) for name in ("layer", "head", "position")]
        return [(site.layer, site.head, site.position) for site in sites] == list(product(*axes))

    def _head_maps(self, panels: dict[str, plots.Array], layers: plots.Axis, heads: plots.Axis) -> Figure:
        outlined = OUTLINED if len(panels) == 1 else 0
        note = "\noutlined: the strongest" if outlined else ""
        return plots.heat_maps(panels, layers, heads, self.title + note, self._scale_label, outlined)

    def _layer_line(self, layers: plots.Axis) -> Figure:
        effect = self._result.effect
        return plots.interval_line(
            layers, effect.value, effect.low, effect.high, value_label=self._scale_label, title=self.title
        )

    def _ranked_bars(self) -> Figure:
        effect, noun = self._result.effect, self._result.noun
        sizes = np.abs(effect.value)
        top = [row for row in self._result.ranking[:MAX_BARS] if sizes[row] >= MIN_BAR * sizes.max()]
        axis_label = {"head": "layer.head", "key/value head": "layer.key/value head"}.get(noun, noun)
        return plots.ranked_bars(
            plots.Axis(axis_label, [self.labels[row] for row in top]),
            effect.value[top],
            effect.low[top],
            effect.high[top],
            value_label=self._scale_label,
            title=f"{self.title}, strongest first",
        )

    @property
    def _scale_label(self) -> str:
        """The values of all figures."""
        if self._title.base == "corrupted":
            return RECOVERY
        return "change of recovery\n(0 = clean, −1 = corrupted)"


def _axis(label: str, ticks: Sequence[object]) -> plots.Axis:
    return plots.Axis(label, [str(tick) for tick in ticks])
