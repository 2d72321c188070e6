"""Bars and lines with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from ioi_lab.reports.plots.style import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    STYLE,
    Axis,
    plain_number,
    set_title,
)
from ioi_lab.reports.wording import NOT_FOUND, intervals_over
from ioi_lab.stats.bootstrap import Over
from ioi_lab.stats.metrics import Array

_MAX_LINES_WITH_LEGEND_INSIDE: Final = 4
"""A panel with more lines than this has its legend on its right instead of inside."""

_MAX_TICKS: Final = 16
_FEW_POWERS: Final = 15
"""On a logarithmic scale that spans less than this factor, powers of ten are too few ticks."""

_PALE: Final = 0.3
"""The opacity of pale bars."""


def ranked_bars(
    bars: Axis,
    values: Float[Array, "bar"],
    low: Float[Array, "bar"],
    high: Float[Array, "bar"],
    value_label: str,
    title: str,
    pale: Bool[NDArray[np.bool_], "bar"] | None = None,
    over: Over = "prompts",
) -> Figure:
    """Draw horizontal bars with intervals, the first on top, positive and negative ones in two colours.

    Args:
        bars: The names of the bars.
        values: The lengths of the bars.
        low: The lower bounds of their intervals; NaN for intervals that are unknown, which are not drawn.
        high: The upper bounds.
        value_label: The label of the values' axis.
        title: The title of the figure.
        pale: The bars that show no effect beyond chance; by default those whose interval includes 0.
        over: What the intervals are taken over.

    """
    pale_note = NOT_FOUND
    if pale is None:
        pale, pale_note = (low <= 0) & (high >= 0), "interval includes 0"
    with context(STYLE):
        figure = Figure(figsize=(5.6, 0.25 * len(bars.ticks) + 1.5), layout="constrained")
        ax = figure.subplots()
        places = np.arange(len(bars.ticks))
        colours = [
            to_rgba(POSITIVE if value >= 0 else NEGATIVE, _PALE if is_pale else 1.0)
            for value, is_pale in zip(values, pale, strict=True)
        ]
        ax.barh(places, values, color=colours, xerr=_whiskers(values, low, high), ecolor=NEUTRAL, capsize=2)
        ax.set_yticks(places, bars.ticks)
        ax.invert_yaxis()
        ax.axvline(0, color="black", linewidth=0.8)
        note = f"\nwith {intervals_over(over)}" if np.isfinite(low).any() else ""
        note += f"\npale: {pale_note}" if pale.any() else ""
        ax.set(xlabel=value_label + note, ylabel=bars.label)
        set_title(figure, title)
    return figure


def interval_line(
    axis: Axis,
    values: Float[Array, "tick"],
    low: Float[Array, "tick"],
    high: Float[Array, "tick"],
    value_label: str,
    title: str,
    over: Over = "prompts",
) -> Figure:
    """Draw values along an axis with their intervals as a band, and a dashed line at 0, the value without edits."""
    with context(STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        ax = figure.subplots()
        places = np.arange(len(axis.ticks))
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle="--", label="no edit")
        ax.plot(places, values, color=POSITIVE, marker="o", markersize=4)
        if np.isfinite(low).any():
            ax.fill_between(places, low, high, color=POSITIVE, alpha=0.25, linewidth=0, label=intervals_over(over))
        ax.set_xticks(places, axis.ticks)
        ax.set(xlabel=axis.label, ylabel=value_label)
        ax.legend(frameon=False)
        set_title(figure, title)
    return figure


@dataclass(frozen=True)
class Line:
    """Values along an axis with the bounds of their intervals; NaN for values and bounds that are unknown."""

    name: str
    values: Float[Array, "tick"]
    low: Float[Array, "tick"]
    high: Float[Array, "tick"]
    colour: str = POSITIVE
    dashed: bool = False


@dataclass(frozen=True)
class LinePanel:
    """Lines that share a scale."""

    value_label: str
    lines: Sequence[Line]
    logarithmic: bool = False
    zero: bool = False
    """Whether a dotted line is drawn at 0, to show the sign of the values."""

    floor: float | None = None
    """The lower end of the scale; None for that of the values."""


def line_panels(axis: Axis, panels: Sequence[LinePanel], title: str, bands: str) -> Figure:
    """Draw panels side by side over the same axis, with intervals as bands; `bands` is their name in the title."""
    with context(STYLE):
        width = max(3.2, min(4.2, 0.16 * len(axis.ticks) + 1.0))
        legends = sum(1.4 for panel in panels if len(panel.lines) > _MAX_LINES_WITH_LEGEND_INSIDE)
        figure = Figure(figsize=(max(4.6, len(panels) * width + 0.4) + legends, 3.6), layout="constrained")
        for ax, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw_lines(ax, axis, panel)
        banded = any(np.isfinite(line.low).any() for panel in panels for line in panel.lines)
        set_title(figure, f"{title}\nbands: {bands}" if banded else title)
    return figure


def _draw_lines(ax: Axes, axis: Axis, panel: LinePanel) -> None:
    places = np.arange(len(axis.ticks)) if axis.places is None else np.array(axis.places)
    for line in panel.lines:
        style = "--" if line.dashed else "-"
        known = np.isfinite(line.values)  # the line passes over values that are missing; its markers show the others
        ax.plot(places[known], line.values[known], style, color=line.colour, label=line.name, marker="o", markersize=2)
        if np.isfinite(line.low).any():
            low, high = line.low[known], line.high[known]
            ax.fill_between(places[known], low, high, color=line.colour, alpha=0.2, linewidth=0)
    if panel.zero:
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
    if panel.logarithmic:
        ax.set_yscale("log")
    if panel.floor is not None:
        highest = max(float(np.nanmax([line.values, line.high])) for line in panel.lines)
        cut = any((line.values < panel.floor).any() for line in panel.lines)
        ax.set_ylim(panel.floor, highest + 0.05 * (highest - panel.floor) if cut else None)
    if panel.logarithmic:
        bottom, top = ax.get_ylim()
        ax.yaxis.set_major_formatter(plain_number)
        ax.yaxis.set_minor_formatter(plain_number if top < _FEW_POWERS * bottom else NullFormatter())
    step = -(-len(axis.ticks) // _MAX_TICKS)
    if axis.places is None:
        ax.set_xticks(places[::step], list(axis.ticks)[::step], rotation=60 if max(map(len, axis.ticks)) > 4 else 0)
    ax.set(xlabel=axis.label, ylabel=panel.value_label)
    many = len(panel.lines) > _MAX_LINES_WITH_LEGEND_INSIDE
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if many else {}
    ax.legend(frameon=False, fontsize=7.5, handlelength=3, **place)


def _whiskers(values: Array, low: Array, high: Array) -> Float[Array, "2 bar"] | None:
    """Return the distances of the values from their bounds; None if all bounds are unknown."""
    if not np.isfinite(low).any():
        return None
    return np.clip(np.stack([values - low, high - values]), 0, None)
