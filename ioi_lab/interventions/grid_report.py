"""The report of a grid: its table, the map in the shape of the grid, and the strongest rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Int

from ioi_lab.interventions.grid_result import GridResult, GridTitle, Row
from ioi_lab.interventions.grid_texts import GridTexts, random_sets_line
from ioi_lab.interventions.random_sets import FILE
from ioi_lab.interventions.recovery import MEASURES, column_of
from ioi_lab.models.selectors import label_at, shared_position
from ioi_lab.reports import plots
from ioi_lab.reports.charts import Chart, Curves, Map, Ranking
from ioi_lab.reports.report import (
    SELECTORS,
    Report,
    ReportContext,
    per_prompt_file,
    scalars,
    tidy_columns,
    tidy_table,
)
from ioi_lab.reports.wording import counted, interval, interval_column, intervals_over, map_note, test_over
from ioi_lab.stats.bootstrap import MIN_PROMPTS
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Grid = Int[np.ndarray[tuple[Any, ...], np.dtype[np.int_]], "row column"]
"""The rows of the results that the cells of a map show."""

MAX_BARS: Final = 15
MIN_BAR: Final = 0.02
"""Bars below this share of the longest are left out of the ranking figure."""

OUTLINED: Final = 3
"""The greatest number of cells of a head map that are outlined."""

SUMMARY_ROWS: Final = 5
RECOVERY: Final = "recovery of the {measure}\n(0 = corrupted, 1 = clean)"


class GridReport:
    """The rows of a grid, ranked by the size of their effect, as a table, scalars, figures and sentences."""

    def __init__(self, result: GridResult, title: GridTitle, context: ReportContext) -> None:
        self._result = result
        self._title = title
        self._over = context.over
        self._column = column_of(result.metric)
        self._where = shared_position([row.position for row in result.rows], result.prompts)
        what = f"{title.action} {title.component}{self._where}, {title.details}"
        self.title = f"{what}\n{context.data_title(len(result.prompts))}"
        positions = list(dict.fromkeys(row.position for row in result.rows))
        self.labels = [label_at(row.label, row.position, positions, result.prompts) for row in result.rows]
        self._texts = GridTexts(result, title, self.labels, context)

    def report(self) -> Report:
        """Return the whole report."""
        return Report(
            table=self._table(),
            metrics=self._metrics(),
            draw=self.figures,
            summary=self._summary(),
            files=self._files(),
            headline=f"best_{self._column}",
            charts=_charts(self._column),
            question=self._texts.question,
            answer=self._texts.answer,
            captions=self._texts.captions,
            methods=self._texts.methods,
            limits=self._texts.limits,
        )

    def _files(self) -> dict[str, bytes]:
        """The values of each prompt, and what random sets of heads do."""
        baselines, random = self._result.baselines, self._result.random_sets
        files = per_prompt_file(self._result.readout, baselines.clean.logit_diff[0], baselines.corrupted.logit_diff[0])
        if random is None:
            return files
        selectors = [{"sites": label, "compared_with": of} for label, of in zip(random.labels, random.of, strict=True)]
        columns = tidy_columns(selectors, random.estimates)
        return files | {FILE: csv_bytes({name: columns[name] for name in columns if name not in SELECTORS})}

    def figures(self) -> dict[str, Figure]:
        """Return the map of the grid in the shape that it has, and the ranking."""
        if not self._is_rectangle:
            return {"top_effects": self._ranked_bars()}
        sites = [row.sites[0] for row in self._result.rows]
        heads = list(dict.fromkeys(site.head for site in sites if site.head is not None))
        layers = _axis("layer", list(dict.fromkeys(site.layer for site in sites)))
        positions = list(dict.fromkeys(site.position for site in sites))
        names = [self._result.prompts.position_name(position) for position in positions]
        grid = np.arange(len(sites)).reshape(len(layers.ticks), max(1, len(heads)), len(positions))
        if heads:
            panels = {name if len(names) > 1 else "": grid[:, :, i] for i, name in enumerate(names)}
            figures = {"recovery_by_head": self._maps(panels, layers, _axis(self._result.noun, heads))}
        elif len(positions) > 1:
            figures = {"recovery_by_position": self._maps({"": grid[:, 0]}, layers, _axis("position", names))}
        else:
            figures = {"recovery_by_layer": self._layer_line(layers)}
        return figures | {"top_effects": self._ranked_bars()}

    def _table(self) -> pd.DataFrame:
        table = tidy_table([self._selectors(row) for row in self._result.rows], self._result.estimates)
        discoveries = self._result.discoveries
        return table.assign(p_value=discoveries.p_value, p_adjusted=discoveries.p_adjusted)

    def _selectors(self, row: Row) -> dict[str, Any]:
        if row.site is None or self._title.sets != "each":
            selectors = {"component": self._title.component, "position": row.position, "sites": row.label}
        else:
            selectors = {name: getattr(row.site, name) for name in ("component", "layer", "head", "position")}
        return selectors | dict(self._title.definition)

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
        random = {} if self._result.random_sets is None else self._result.random_sets.metrics(best)
        return metrics | random | self._metrics_of_discoveries(best)

    def _metrics_of_discoveries(self, best: int) -> dict[str, float]:
        discoveries = self._result.discoveries
        if not discoveries.is_known:
            return {}
        metrics = {"n_found": len(self._result.top), "best_p_adjusted": float(discoveries.p_adjusted[best])}
        if (held_out := discoveries.held_out) is not None:
            metrics |= {"held_out_row": held_out.row} | scalars("held_out_effect", held_out.effect)
        return metrics

    def _summary(self) -> list[str]:
        """The strongest rows whose effect is found, on the scale of the figures."""
        if self._title.others_are is not None:
            return self._circuit_lines(self._title.others_are)
        result, effect = self._result, self._result.effect
        what, scale = f"{result.noun}s{self._where}", " ".join(self._scale_label.split())
        top = result.top[:SUMMARY_ROWS]
        if not effect.has_bounds or not result.discoveries.is_known:
            reason = f"fewer than {MIN_PROMPTS} prompts, or a gap that may vanish"
            lines = [f"largest {what} by {scale}, no intervals ({reason}), so that each may be chance:"]
            top = result.ranking[:SUMMARY_ROWS]
        elif top:
            lines = [f"top {what} by {scale}, with {intervals_over(self._over)}:"]
        else:
            largest = f"the largest, by {scale}, with its 95 % interval over {self._over}"
            lines = [f"no effect beyond chance: {self._correction}; {largest}:"]
            top = result.ranking[:1]
        for row in top:
            lines += [f"  {self.labels[row]:<14} {interval_column(effect, row)}", *self._random_lines(row)]
        if result.top:
            lines.append(self._correction)
        return lines + self._held_out_line()

    def _circuit_lines(self, others_are: str) -> list[str]:
        """The logit difference of each circuit with all other heads replaced."""
        whole = interval(self._result.baselines.estimates["clean"]["logit_diff"])
        logit_diff, share = (self._result.estimates[name] for name in ("logit_diff", "logit_diff_share"))
        lines = []
        for row, label in enumerate(self.labels):
            lines.append(
                f"{label} replaced by {others_are}: logit difference {interval(logit_diff, row)}, which is "
                f"{interval(share, row)} of the whole model's {whole}"
            )
            lines += self._random_lines(row)
        return lines

    def _random_lines(self, row: int) -> list[str]:
        line = "" if self._result.random_sets is None else random_sets_line(self._result.random_sets, row)
        return [f"  {line[0].lower()}{line[1:].removesuffix('.')}"] if line else []

    @property
    def _correction(self) -> str:
        """How many effects are found."""
        found, noun = len(self._result.top), counted(len(self._result.rows), "effect")
        count, verb = "none" if found == 0 else str(found), "is" if found < 2 else "are"
        return f"{count} of {noun} {verb} distinguishable from 0 {test_over(self._over)}"

    def _held_out_line(self) -> list[str]:
        held_out = self._result.discoveries.held_out
        if held_out is None or not self._result.top or len(self._result.rows) == 1:
            return []
        value = interval(held_out.effect, form=".3f")
        return [f"the largest on half of the prompts, {self.labels[held_out.row]}, measured on the other half: {value}"]

    @property
    def _is_rectangle(self) -> bool:
        """Whether the rows are single sites, and every layer has the same heads and positions."""
        if self._title.sets != "each":
            return False
        sites = [row.sites[0] for row in self._result.rows]
        axes = [dict.fromkeys(getattr(site, name) for site in sites) for name in ("layer", "head", "position")]
        return [(site.layer, site.head, site.position) for site in sites] == list(product(*axes))

    def _maps(self, panels: Mapping[str, Grid], rows: plots.Axis, columns: plots.Axis) -> Figure:
        """Draw maps of some of the cells of the grid, given by the indices of their rows."""
        result, not_found = self._result, self._result.discoveries.not_found
        strongest = result.top[:OUTLINED] if len(panels) == 1 else []
        outlined = [cell for grid in panels.values() for row in strongest for cell in cells_of_row(grid, row)]
        return plots.heat_maps(
            {name: result.effect.value[grid] for name, grid in panels.items()},
            rows,
            columns,
            self.title + map_note(is_outlined=bool(outlined), is_pale=not_found is not None and bool(not_found.any())),
            self._scale_label,
            floor=plots.EFFECT_FLOOR,
            pale=None if not_found is None else {name: not_found[grid] for name, grid in panels.items()},
            outlined=outlined,
        )

    def _layer_line(self, layers: plots.Axis) -> Figure:
        effect = self._result.effect
        return plots.interval_line(
            layers,
            effect.value,
            effect.low,
            effect.high,
            value_label=self._scale_label,
            title=self.title,
            over=self._over,
        )

    def _ranked_bars(self) -> Figure:
        effect, noun, not_found = self._result.effect, self._result.noun, self._result.discoveries.not_found
        sizes = np.abs(effect.value)
        top = [row for row in self._result.ranking[:MAX_BARS] if sizes[row] >= MIN_BAR * sizes.max()]
        axis_label = {"head": "layer.head", "key/value head": "layer.key/value head"}.get(noun, noun)
        return plots.ranked_bars(
            plots.Axis(axis_label, [self.labels[row] for row in top]),
            effect.value[top],
            effect.low[top],
            effect.high[top],
            value_label=self._scale_label,
            title=f"{self.title}, largest first",
            pale=None if not_found is None else not_found[top],
            over=self._over,
        )

    @property
    def _scale_label(self) -> str:
        """The values of all figures."""
        if self._title.base == "corrupted":
            return RECOVERY.format(measure=MEASURES[self._result.metric].name)
        of = "" if self._result.metric == "logit_diff" else f" of the {MEASURES[self._result.metric].name}"
        return f"change of recovery{of}\n(0 = clean, −1 = corrupted)"


def cells_of_row(grid: Grid, row: int) -> list[tuple[int, int]]:
    """Return the cells of a map that show a row of the results."""
    return [(int(layer), int(column)) for layer, column in np.argwhere(grid == row)]


def _charts(column: str) -> Sequence[Chart]:
    """Return those that the rows of the grid may make: a chart without several steps, bars or cells is left out."""
    return (
        Curves("recovery_by_layer", "layer", column, ("head", "position")),
        Curves("recovery_by_position", "position", column, ("layer", "head")),
        Ranking("top_effects", column, ("layer", "head", "position", "sites")),
        Map("recovery_by_head", column, "layer", "head"),
        Map("recovery_by_layer_and_position", column, "layer", "position"),
    )


def _axis(label: str, ticks: Sequence[object]) -> plots.Axis:
    return plots.Axis(label, [str(tick) for tick in ticks])
