"""Small multiples: lines or points with intervals in panels that share their axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context

from ioi_lab.reports.plots.lines import Line
from ioi_lab.reports.plots.sizes import (
    CHARACTER,
    MAX_PANELS,
    left_out,
    new_figure,
    room_below,
    shortened,
    spread,
    thinned,
    wrapped,
)
from ioi_lab.reports.plots.style import MAX_LEGEND, NEUTRAL, STYLE, Axis, finish

MAX_LINES: Final = 20
"""The greatest number of lines in a panel: the colours of more could not be distinguished."""

_FEW: Final = 5
"""Lines through this number of places have their intervals as bars, which bands would make look like more."""

_PER_ROW: Final = 4
_ONE: Final = (5.4, 3.4)
_MANY: Final = (2.5, 2.1)
"""The width and the height of a panel in inches, alone and among others."""

_DODGE: Final = 0.6
"""The share of the distance between two categories over which their points are spread."""


@dataclass(frozen=True)
class Multiple:
    """A panel: its lines, and below each of its means the values that it is the mean of."""

    title: str
    lines: Sequence[Line]
    samples: Sequence[Sequence[Sequence[float]]] = ()
    """The values by line and place; empty if there are none."""


def small_multiples(
    axis: Axis,
    panels: Sequence[Multiple],
    value_label: str,
    title: str,
    *,
    zero: str = "",
    per_row: int = _PER_ROW,
    line_label: str = "",
    floor: float | None = None,
) -> Figure:
    """Draw panels with shared axes and one legend.

    Args:
        axis: The x axis: with places, its values are numbers, and lines join them; without, they are categories, whose
            points are drawn next to each other.
        panels: The panels, which all have the same lines; of more than `MAX_PANELS`, some are drawn, and the title
            says so.
        value_label: The label of the y axis.
        title: The title of the figure.
        zero: The meaning of 0, which gets a dashed line; no line without it.
        per_row: The number of panels in a row.
        line_label: What distinguishes the lines: the title of the legend.
        floor: The lower end of the y axis, if values are below it.

    """
    shown = [panels[index] for index in spread(len(panels), MAX_PANELS)]
    title += left_out(len(shown), len(panels), "panels", "evenly spread")
    most = len(shown[0].lines)
    title += left_out(min(most, MAX_LINES), most, "lines", "evenly spread")
    kept = spread(most, MAX_LINES)
    columns = min(len(shown), per_row)
    rows = -(-len(shown) // columns)
    width, height = _ONE if len(shown) == 1 else _MANY
    width = max(width, 0.35 * len(axis.ticks) + 0.6) if axis.places is None else width
    names = [shown[0].lines[index].name for index in kept] + ([zero] if zero else [])
    legend = 0.6 + 0.075 * min(MAX_LEGEND, max([*map(len, names), len(line_label)]))
    with context(STYLE):
        figure = new_figure(columns * width + 0.7 + legend, rows * height + 0.9 + room_below(axis.ticks))
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten().tolist()
        for ax, panel in zip(axes, shown, strict=False):
            _draw(ax, axis, panel, kept, has_zero=bool(zero))
            ax.set_title(wrapped(panel.title, max(14, int(13 * width))))
        for index, ax in enumerate(axes):
            _name_ticks(ax, axis, width, is_lowest=index + columns >= len(shown))
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        values = np.concatenate([line.values for panel in shown for line in panel.lines])
        if floor is not None and (values < floor).any():
            top = float(np.nanmax(values))
            axes[0].set_ylim(floor, top + 0.05 * (top - floor))
        figure.supxlabel(axis.label, fontsize=STYLE["font.size"])
        figure.supylabel(wrapped(value_label, int(14 * rows * height)), fontsize=STYLE["font.size"])
        joined = axis.places is not None
        _add_legend(figure, [shown[0].lines[index] for index in kept], zero, line_label, joined=joined)
        finish(figure, title, axes[: len(shown)], legend_width=legend)
    return figure


def has_bands(n_places: int) -> bool:
    """Return whether lines through this number of places have their intervals as bands, instead of as bars."""
    return n_places > _FEW


def _draw(ax: Axes, axis: Axis, panel: Multiple, kept: Sequence[int], *, has_zero: bool) -> None:
    places = np.arange(len(axis.ticks)) if axis.places is None else np.array(axis.places, dtype=float)
    if has_zero:
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle="--", zorder=1)
    for rank, index in enumerate(kept):
        line = panel.lines[index]
        shift = (rank - (len(kept) - 1) / 2) * _DODGE / max(len(kept), 2) if axis.places is None else 0.0
        at, known = places + shift, np.isfinite(line.values)
        look: dict[str, Any] = {"linestyle": "-", "markersize": 3}
        if axis.places is None:
            look = {"linestyle": "none", "markersize": 4.5}
        ax.plot(at[known], line.values[known], color=line.colour, marker="o", label=line.name, **look)
        bounded = known & np.isfinite(line.low) & np.isfinite(line.high)
        if axis.places is not None and has_bands(len(places)):
            ax.fill_between(at[known], line.low[known], line.high[known], color=line.colour, alpha=0.2, linewidth=0)
        elif bounded.any():
            ax.vlines(at[bounded], line.low[bounded], line.high[bounded], color=line.colour, linewidth=1.2)
        for place, values in zip(at, panel.samples[index] if panel.samples else (), strict=False):
            if not len(values):  # drawing no points takes as long as drawing some
                continue
            shifted = place + (0.12 / max(len(kept), 2) if axis.places is None else 0.0)
            ax.scatter(np.full(len(values), shifted), values, s=6, color=line.colour, alpha=0.45, linewidths=0)


def _name_ticks(ax: Axes, axis: Axis, width: float, *, is_lowest: bool) -> None:
    if axis.places is None:
        names = [shortened(tick) for tick in axis.ticks]
        ticks = thinned(names, width - 0.4, upright=False)
        is_narrow = len(names) * (CHARACTER * max(map(len, names)) + 0.06) > width - 0.4
        ax.set_xticks(ticks.places, ticks.names, rotation=60 if ticks.slanted and is_narrow else 0)
        ax.set_xlim(-0.6, len(axis.ticks) - 0.4)
    elif len(axis.ticks) <= _FEW and len(set(np.diff(axis.places).round(9).tolist())) <= 1:
        ax.set_xticks(list(axis.places), list(axis.ticks))
    ax.tick_params(labelbottom=is_lowest)


def _add_legend(figure: Figure, lines: Sequence[Line], zero: str, label: str, *, joined: bool) -> None:
    handles = [
        Line2D([], [], linewidth=1.5 * joined, color=line.colour, marker="o", markersize=4, label=line.name)
        for line in lines
    ]
    if len(lines) == 1 and not label:
        handles = []
    if zero:
        handles.append(Line2D([], [], color=NEUTRAL, linewidth=0.8, linestyle="--", label=zero))
    if handles:
        names = [wrapped(str(handle.get_label()), MAX_LEGEND, most=1) for handle in handles]
        figure.legend(handles, names, title=label or None, loc="outside right center", frameon=False, fontsize=8,
                      title_fontsize=8, alignment="left")  # fmt: skip
