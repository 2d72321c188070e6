"""Bars and lines with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from ioi_lab.reports.plots.sizes import LINE, left_out, new_figure, room_below, room_left, spread, thinned, wrapped
from ioi_lab.reports.plots.style import MAX_LEGEND, NEGATIVE, NEUTRAL, POSITIVE, STYLE, Axis, finish, plain_number
from ioi_lab.reports.wording import NOT_FOUND, intervals_over
from ioi_lab.stats.bootstrap import Over
from ioi_lab.stats.metrics import Array

_MAX_LINES_WITH_LEGEND_INSIDE: Final = 4
"""A panel with more lines than this has its legend on its right instead of inside."""

_MAX_BARS: Final = 64
_MAX_LINES: Final = 20
"""The greatest number of lines in a panel: the colours of more could not be distinguished."""

_MAX_BAR_NAME: Final = 40
"""The greatest number of characters of a bar's name."""

_WIDTH: Final = 5.6
"""The width of figures of one panel, in inches, of which `_ROOM` are left for its ticks."""

_ROOM: Final = 4.6
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
    pale_note: str = NOT_FOUND,
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
        pale_note: What the bars of `pale` have in common.

    """
    if pale is None:
        pale, pale_note = (low <= 0) & (high >= 0), "interval includes 0"
    n_bars = len(bars.ticks)
    values, low, high = (each[:_MAX_BARS] for each in (values, low, high))
    pale = pale[:_MAX_BARS]
    with context(STYLE):
        figure = new_figure(_WIDTH + room_left(bars.ticks), 0.25 * len(values) + 1.5)
        ax = figure.subplots()
        places = np.arange(len(values))
        colours = [
            to_rgba(POSITIVE if value >= 0 else NEGATIVE, _PALE if is_pale else 1.0)
            for value, is_pale in zip(values, pale, strict=True)
        ]
        ax.barh(places, values, color=colours, xerr=_whiskers(values, low, high), ecolor=NEUTRAL, capsize=2)
        ax.set_yticks(places, [wrapped(name, _MAX_BAR_NAME, most=1) for name in bars.ticks[:_MAX_BARS]])
        ax.invert_yaxis()
        ax.axvline(0, color="black", linewidth=0.8)
        note = f"\nwith {intervals_over(over)}" if np.isfinite(low).any() else ""
        note += f"\npale: {pale_note}" if pale.any() else ""
        ax.set(xlabel=value_label + note, ylabel=bars.label)
        finish(figure, title + left_out(len(values), n_bars, "bars", "the first"), [ax])
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
        figure = new_figure(_WIDTH, 3.4 + room_below(axis.ticks))
        ax = figure.subplots()
        places = np.arange(len(axis.ticks))
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle="--", label="no edit")
        ax.plot(places, values, color=POSITIVE, marker="o", markersize=4)
        if np.isfinite(low).any():
            ax.fill_between(places, low, high, color=POSITIVE, alpha=0.25, linewidth=0, label=intervals_over(over))
        _name_places(ax, axis, _ROOM)
        ax.set(xlabel=axis.label, ylabel=value_label)
        ax.legend(frameon=False)
        finish(figure, title, [ax])
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
        legends = sum(_legend_width(panel) for panel in panels if len(panel.lines) > _MAX_LINES_WITH_LEGEND_INSIDE)
        figure = new_figure(max(4.6, len(panels) * width + 0.4) + legends, _height(panels, axis))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, panel in zip(axes, panels, strict=True):
            chosen = spread(len(panel.lines), _MAX_LINES)
            _draw_lines(ax, axis, replace(panel, lines=[panel.lines[index] for index in chosen]))
            _name_places(ax, axis, width - 1.0)
        most = max(len(panel.lines) for panel in panels)
        title += left_out(min(most, _MAX_LINES), most, "lines", "evenly spread")
        banded = any(np.isfinite(line.low).any() for panel in panels for line in panel.lines)
        finish(figure, f"{title}\nbands: {bands}" if banded else title, axes, legend_width=legends)
    return figure


def _legend_width(panel: LinePanel) -> float:
    """Return the width of a legend that stands on the right of its panel, in inches."""
    return max(1.4, 0.5 + 0.07 * min(MAX_LEGEND, max(len(line.name) for line in panel.lines)))


def _height(panels: Sequence[LinePanel], axis: Axis) -> float:
    """Return the height of panels in inches: as much as the longest legend, or slanted ticks, need."""
    lines = max(min(len(panel.lines), _MAX_LINES) for panel in panels)
    return max(3.6, LINE * lines + 1.6) + (0.0 if axis.places else room_below(axis.ticks) / 2)


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
        highest = max(float(np.nanmax([line.values, line.high], initial=panel.floor)) for line in panel.lines)
        cut = any((line.values < panel.floor).any() for line in panel.lines)
        ax.set_ylim(panel.floor, highest + 0.05 * (highest - panel.floor) if cut else None)
    if panel.logarithmic:
        bottom, top = ax.get_ylim()
        ax.yaxis.set_major_formatter(plain_number)
        ax.yaxis.set_minor_formatter(plain_number if top < _FEW_POWERS * bottom else NullFormatter())
    ax.set(xlabel=axis.label, ylabel=panel.value_label)
    many = len(panel.lines) > _MAX_LINES_WITH_LEGEND_INSIDE
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if many else {}
    ax.legend(frameon=False, fontsize=7.5, handlelength=3, **place)


def _name_places(ax: Axes, axis: Axis, inches: float) -> None:
    """Name the ticks of an axis without places of its own: as many as can be read on its length in inches."""
    if axis.places is None:
        ticks = thinned(axis.ticks, inches, upright=False)
        ax.set_xticks(ticks.places, ticks.names, rotation=60 if ticks.slanted else 0)


def _whiskers(values: Array, low: Array, high: Array) -> Float[Array, "2 bar"] | None:
    """Return the distances of the values from their bounds; None if all bounds are unknown."""
    if not np.isfinite(low).any():
        return None
    return np.clip(np.stack([values - low, high - values]), 0, None)
