"""Bars, lines and points with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    INTERVAL,
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    STYLE,
    Axis,
    plain_number,
    set_title,
)
from ioi_lab.reports.wording import NOT_FOUND
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
        note = f"\nwith {INTERVAL}" if np.isfinite(low).any() else ""
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
) -> Figure:
    """Draw values along an axis with their intervals as a band, and a dashed line at 0, the value without edits."""
    with context(STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        ax = figure.subplots()
        places = np.arange(len(axis.ticks))
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle="--", label="no edit")
        ax.plot(places, values, color=POSITIVE, marker="o", markersize=4)
        if np.isfinite(low).any():
            ax.fill_between(places, low, high, color=POSITIVE, alpha=0.25, linewidth=0, label=INTERVAL)
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


def line_panels(axis: Axis, panels: Sequence[LinePanel], title: str, bands: str = INTERVAL) -> Figure:
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


def scatter(
    x: Float[Array, "point"],
    y: Float[Array, "point"],
    labels: Sequence[str],
    x_label: str,
    y_label: str,
    title: str,
    named: int = 5,
    line: str | None = None,
    from_zero: bool = False,
) -> Figure:
    """Draw points, and label the `named` points that are farthest from 0 along either axis.

    `line`: the name of the line x = y, which is drawn if it has one. `from_zero`: the x axis includes 0.
    """
    with context(STYLE):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        ax = figure.subplots()
        if line:
            low, high = min(x.min(), y.min()), max(x.max(), y.max())
            ax.plot([low, high], [low, high], color=NEUTRAL, linewidth=0.8, linestyle="--", label=line)
            ax.legend(frameon=False, loc="upper left")
        else:
            ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
        if from_zero:
            ax.axvline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
        _draw_points(ax, x, y, labels, named)
        ax.set(xlabel=x_label, ylabel=y_label)
        set_title(figure, title)
    return figure


def scatter_panels(
    panels: Mapping[str, tuple[Float[Array, "point"], Float[Array, "point"]]],
    labels: Sequence[str],
    x_label: str,
    y_label: str,
    title: str,
    named: int = 5,
) -> Figure:
    """Draw the same points under several conditions next to each other, with shared axes, and label them as `scatter`.

    `panels`: the x and y values of the points by the title of their panel.
    """
    with context(STYLE):
        figure = Figure(figsize=(0.8 + 3.7 * len(panels), 4.2), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for ax, (name, (x, y)) in zip(axes, panels.items(), strict=True):
            ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
            ax.scatter(x, y, s=0)  # all panels set the shared limits before names are placed
            ax.set_title(name)
            ax.set_xlabel(x_label)
        for ax, (x, y) in zip(axes, panels.values(), strict=True):
            _draw_points(ax, x, y, labels, named)
        axes[0].set_ylabel(y_label)
        set_title(figure, title)
    return figure


def _draw_points(
    ax: Axes, x: Float[Array, "point"], y: Float[Array, "point"], labels: Sequence[str], named: int
) -> None:
    """Draw points, and label those that are farthest from 0 along either axis."""
    ax.scatter(x, y, color=POSITIVE, s=14, alpha=0.7, linewidths=0)
    ax.margins(0.12, 0.08)
    outermost = [np.argsort(-np.abs(values), kind="stable")[:named].tolist() for values in (x, y)]
    _name_points(ax, {labels[point]: (x[point], y[point]) for points in outermost for point in points})


def _name_points(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each point's name next to the point, if possible without covering another name."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    taken: list[tuple[float, float]] = []
    for name, (x, y) in points.items():
        across, up = (x - left) / (right - left), (y - bottom) / (top - bottom)
        free = [
            (side, rise)
            for side, rise in ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 3), (1, -3), (-1, 3), (-1, -3))
            if all(abs(across + side * 0.06 - a) > 0.11 or abs(up + rise * 0.025 - b) > 0.04 for a, b in taken)
        ]
        side, rise = free[0] if free else (1, 1)
        taken.append((across + side * 0.06, up + rise * 0.025))
        ax.annotate(
            name,
            (x, y),
            xytext=(5 * side, 7 * rise),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=8,
        )


def _whiskers(values: Array, low: Array, high: Array) -> Float[Array, "2 bar"] | None:
    """Return the distances of the values from their bounds; None if all bounds are unknown."""
    if not np.isfinite(low).any():
        return None
    return np.clip(np.stack([values - low, high - values]), 0, None)
