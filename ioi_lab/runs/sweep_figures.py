"""The figures of a sweep: lines along numbers, points of categories, maps of layers × places, in small multiples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.reports import plots
from ioi_lab.reports.wording import counted, map_note
from ioi_lab.runs.axes import Axes
from ioi_lab.runs.cells import Cells, cells_of
from ioi_lab.runs.measurements import OF_RUN, Measurements
from ioi_lab.runs.nulls import without_best

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_MAPS: Final = 8
"""The largest number of maps in a figure, evenly spread over all of them."""

_LEAST_R2: Final = -0.2
_OF_THEIR_OWN: Final = "\npale, without number: the cell's own interval includes the value without effect"


@dataclass(frozen=True)
class SweepFigure:
    """One figure: measurements on axes."""

    measured: Measurements
    axes: Axes
    sweep: str
    """The name of the sweep."""

    common: Mapping[str, str] = field(default_factory=dict)
    """What all runs of the sweep have in common, by its group: `intervention`, `model`, `task`, `source`, `target`."""

    missing: int = 0
    """The number of runs that are not done."""

    over: str = ""
    """What the intervals of single runs are taken over; empty if that is not known."""

    measured_on: str = ""
    """What each run was measured on, such as `16 prompts`; empty if that is not known."""

    @property
    def name(self) -> str:
        """The name of the file: the metric by the keys of its axes."""
        keys = [self.axes.line, self.axes.x] if self.axes.is_map else [self.axes.x, self.axes.line]
        names = [str(key).split(".")[-1] for key in (*keys, *self.axes.facet) if key is not None]
        return f"{self.measured.metric}_by_{'_'.join(names)}"

    def draw(self) -> Figure:
        """Draw the figure."""
        return self._maps(self.cells) if self.axes.is_map else self._multiples(self.cells)

    @cached_property
    def cells(self) -> Cells:
        """The values on the axes of the figure."""
        return cells_of(self.measured, self.axes)

    @property
    def n_runs(self) -> int:
        """The number of runs that the values come from."""
        return int(self.measured.table[OF_RUN].nunique())

    @property
    def value_label(self) -> str:
        """The label of the values: what they are changes from, and what they are the best of."""
        return self.quantity(self.measured.of)

    def quantity(self, of: str = "") -> str:
        """Return what is shown: `change in recovery from the unedited corrupted run`.

        `of`: what it is the best of, in brackets; nothing without it.
        """
        metric, unedited = in_words(self.measured.metric), self.measured.unedited
        name = metric.removeprefix("best ")
        label = f"{name} ({of})" if of else name if unedited or self.measured.of else metric
        if not unedited:
            return label
        run = unedited[0] if len(unedited) == 1 else "the unedited run"
        return f"change in {label} from {run}"

    @property
    def title(self) -> str:
        """The title: what is shown of which runs, and what its intervals are."""
        lines = [*self.about]
        cells = self.cells
        low, high = cells.n_seeds
        if high > 1:
            count = f"{high}" if low == high else f"{low} to {high}"
            dots = "" if self.axes.is_map else " (dots)"
            lines.append(f"means over {count} values of {' × '.join(cells.seeds)}{dots}, 95 % intervals (Student's t)")
        elif not self.axes.is_map and any(np.isfinite(cell.low) for cell in cells.cells.values()):
            over = f" over {self.over}" if self.over else ""
            lines.append(f"95 % intervals{over}" + (f"; {self.measured.note}" if self.measured.note else ""))
        if self.is_cut:
            lines.append("R² below −0.2, worse than predicting the mean, is out of the figure")
        return "\n".join(lines)

    @property
    def about(self) -> list[str]:
        """The lines of the title on the runs."""
        missing = f", {self.missing} missing" if self.missing else ""
        return [
            " · ".join([in_words(self.measured.metric), *self.common.values(), *self.measured.fixed]),
            f"{self.sweep}: {counted(self.n_runs, 'run')}{missing}",
        ]

    @property
    def is_cut(self) -> bool:
        """Whether values are below the lower end of the axis."""
        return self.floor is not None and bool((self.measured.table["value"] < self.floor).any())

    @property
    def floor(self) -> float | None:
        """The lower end of the axis of R², which has no least value."""
        return _LEAST_R2 if without_best(self.measured.metric) == "r2" and not self.axes.is_map else None

    def axis_of(self, key: str | None, values: Sequence[Any]) -> plots.Axis:
        """Return the axis of a key: that of numbers if its values are amounts."""
        label = "" if key is None else key
        is_number = key is not None and self.measured.is_number(key) and key.split(".")[-1] not in ("head", "seed")
        return plots.Axis(label, [_tick(value) for value in values], list(values) if is_number else None)

    def _case(self, facet: tuple[Any, ...]) -> str:
        cases = [(key, _tick(value)) for key, value in zip(self.axes.facet, facet, strict=True)]
        return "\n".join(value if "→" in value else f"{key} = {value}" for key, value in cases)

    def _multiples(self, cells: Cells) -> Figure:
        axis = self.x_axis
        names = [_tick(line) if self.axes.line else in_words(self.measured.metric) for line in cells.lines]
        colours = plots.shades(len(names)) if self.is_ordered else plots.distinct(len(names))
        panels = []
        for facet in cells.facets:
            lines, samples = [], []
            for name, line, colour in zip(names, cells.lines, colours, strict=True):
                value, low, high = (cells.array(part, line, facet) for part in ("value", "low", "high"))
                found = [cells.cells.get((x, line, facet)) for x in cells.x]
                lines.append(plots.Line(name, value, low, high, colour))
                samples.append([() if cell is None else cell.of_seeds for cell in found])
            panels.append(plots.Multiple(self._case(facet), lines, samples))
        if self.has_zero_added:
            axis, panels = _with_zero(axis, panels)
        last = len(self.measured.values(self.axes.facet[-1])) if len(self.axes.facet) == 2 else 0
        return plots.small_multiples(
            axis,
            panels,
            self.value_label,
            self.title,
            zero=self.zero,
            line_label=self.axes.line or "",
            floor=self.floor,
            **({"per_row": last} if 1 < last <= 6 else {}),
        )

    @property
    def zero(self) -> str:
        """What 0 means; empty if it has no meaning."""
        return "" if not self.measured.is_effect else "no edit" if self.measured.unedited else "no effect"

    @property
    def x_axis(self) -> plots.Axis:
        """The x axis with the values of its key."""
        return self.axis_of(self.axes.x, self.cells.x)

    @property
    def has_zero_added(self) -> bool:
        """Whether the scale 0, at which nothing changes, is drawn too: the runs have measured other scales."""
        places = self.x_axis.places
        return self.axes.x == "scale" and self.measured.is_steered and places is not None and 0 not in places

    @property
    def has_bands(self) -> bool:
        """Whether intervals are drawn as bands instead of as lines."""
        places = self.x_axis.places
        return places is not None and plots.has_bands(len(places) + self.has_zero_added)

    @property
    def is_ordered(self) -> bool:
        """Whether lines are in the order of numbers, and their colours from dark to light."""
        return self.axes.line is not None and self.measured.is_number(self.axes.line)

    def _maps(self, cells: Cells) -> Figure:
        """Draw maps of the metric; cells of effects that show none beyond chance are pale."""
        chosen = np.unique(np.linspace(0, len(cells.facets) - 1, min(len(cells.facets), _MAX_MAPS)).round().astype(int))
        facets = [cells.facets[index] for index in chosen.tolist()]
        names = [self._case(facet) for facet in facets]
        title = self.title
        if len(facets) < len(cells.facets):
            title += f", {len(facets)} of {len(cells.facets)} values of {' × '.join(self.axes.facet)}"
        grids = {
            name: np.stack([cells.array("value", line, facet) for line in cells.lines])
            for name, facet in zip(names, facets, strict=True)
        }
        pale, note = self.without_effect() if self.measured.is_effect else (None, "")
        return plots.heat_maps(
            grids,
            self.axis_of(self.axes.line, cells.lines),
            self.axis_of(self.axes.x, cells.x),
            title + note,
            self.value_label,
            floor=plots.EFFECT_FLOOR if self.measured.is_effect else 0.0,
            pale=None
            if pale is None
            else {
                name: np.array([[(x, line, facet) in pale for x in cells.x] for line in cells.lines])
                for name, facet in zip(names, facets, strict=True)
            },
        )

    def without_effect(self) -> tuple[set[tuple[Any, ...]] | None, str]:
        """Return the cells whose effect is not beyond chance, and the last line of the title that explains them.

        It is decided by tests, corrected for the number of cells (Benjamini and Hochberg), else by whether the cell's
        interval includes 0; it is None if there is nothing that it could be decided by.
        """
        cells = self.cells
        by_tests = cells.not_found()
        if by_tests is not None:
            return set(by_tests), map_note(is_outlined=False, is_pale=bool(by_tests))
        if not any(np.isfinite(cell.low) for cell in cells.cells.values()):
            return None, "\nwithout intervals: each effect may be chance"
        pale = {where for where, cell in cells.cells.items() if not (cell.low > 0 or cell.high < 0)}
        return set(pale), _OF_THEIR_OWN if pale else ""


def _with_zero(axis: plots.Axis, panels: Sequence[plots.Multiple]) -> tuple[plots.Axis, list[plots.Multiple]]:
    """Add the scale 0, at which nothing is added to any activation, so that nothing changes."""
    assert axis.places is not None
    place = int(np.searchsorted(axis.places, 0))
    ticks, places = list(axis.ticks), list(axis.places)
    ticks.insert(place, "0")
    places.insert(place, 0)

    def added(line: plots.Line) -> plots.Line:
        nothing = 0.0 if np.isfinite(line.values).any() else np.nan
        values, low, high = (np.insert(part, place, nothing) for part in (line.values, line.low, line.high))
        return plots.Line(line.name, values, low, high, line.colour)

    more = [
        plots.Multiple(panel.title, [added(line) for line in panel.lines],
                       [[*rows[:place], (), *rows[place:]] for rows in panel.samples])
        for panel in panels
    ]  # fmt: skip
    return plots.Axis(axis.label, ticks, places), more


def in_words(metric: str) -> str:
    """Return the name of a metric as words: `forward_best_r2` → `forward best R²`."""
    words = metric.replace("logit_diff", "logit_difference").split("_")
    return " ".join("R²" if word == "r2" else word for word in words)


def _tick(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("-", "−") if isinstance(value, int | float) else text
