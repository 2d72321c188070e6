"""Forest plots: the same rows in several panels, each with a value and its interval, on a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context
from matplotlib.ticker import MaxNLocator

from ioi_lab.reports.plots.sizes import CHARACTER, LINE, MAX_PANELS, left_out, new_figure, shortened, spread, wrapped
from ioi_lab.reports.plots.style import NEUTRAL, STYLE, distinct, finish
from ioi_lab.reports.wording import interval
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

_MAX_ROWS: Final = 24
_PER_ROW: Final = 3
_PANEL: Final = 2.3
"""The width of a panel without the numbers on its right, in inches."""

_NUMBERS: Final = 1.3
"""The width of these numbers."""

_LABEL: Final = 36
"""The greatest number of characters of a line of a panel's label."""


@dataclass(frozen=True)
class Forest:
    """A panel: a value per row with its bounds; NaN for values that are missing and for bounds that are unknown."""

    title: str
    value_label: str
    values: Float[Array, "row"]
    low: Float[Array, "row"]
    high: Float[Array, "row"]
    missing: Sequence[str] = ()
    """Why a row has no value, by row; empty for rows with one."""

    has_zero: bool = False
    """Whether 0 is the value without an edit, so that it gets a dashed line."""


def forests(rows: Sequence[str], panels: Sequence[Forest], title: str, zero: str) -> Figure:
    """Draw a panel per measurement, with the same rows in the same colours, and the numbers on its right.

    Args:
        rows: The names of the rows, the first on top; of more than 24, some are drawn, and the title says so.
        panels: The panels; of more than `MAX_PANELS`, the first ones are drawn.
        title: The title of the figure.
        zero: The meaning of the dashed lines at 0.

    """
    shown, kept = panels[:MAX_PANELS], spread(len(rows), _MAX_ROWS)
    title += left_out(len(shown), len(panels), "panels", "the first") + left_out(
        len(kept), len(rows), "rows", "evenly spread"
    )
    names = [shortened(rows[row]) for row in kept]
    columns = min(len(shown), _PER_ROW)
    lines = -(-len(shown) // columns)
    left = CHARACTER * max(map(len, names))
    labels = [wrapped(panel.value_label, _LABEL) for panel in shown]
    height = LINE * (1.5 * len(names) + max(len(label.splitlines()) for label in labels)) + 0.7
    with context(STYLE):
        figure = new_figure(columns * (_PANEL + _NUMBERS) + left + 0.4, lines * height + 1.0)
        axes = figure.subplots(lines, columns, sharey=True, squeeze=False).flatten().tolist()
        for ax, panel in zip(axes, shown, strict=False):
            _draw(ax, panel, kept)
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        if any(panel.has_zero for panel in shown):
            line = Line2D([], [], color=NEUTRAL, linewidth=0.8, linestyle="--", label=zero)
            figure.legend(handles=[line], loc="outside lower right", frameon=False, fontsize=8)
        finish(figure, title, axes[: len(shown)], legend_width=columns * _NUMBERS)
        for ax, label in zip(axes, labels, strict=False):  # `finish` leaves no room for them in the first column
            ax.set_xlabel(label, fontsize=8)
    return figure


def _draw(ax: Axes, panel: Forest, kept: Sequence[int]) -> None:
    if panel.has_zero:
        ax.axvline(0, color=NEUTRAL, linewidth=0.8, linestyle="--", zorder=1)
    estimate = Estimate(panel.values, panel.low, panel.high)
    for place, (row, colour) in enumerate(zip(kept, distinct(len(kept)), strict=True)):
        value, low, high = panel.values[row], panel.low[row], panel.high[row]
        note = panel.missing[row] if panel.missing else ""
        if np.isfinite(value):
            ax.plot(value, place, "o", color=colour, markersize=4.5)
            note = interval(estimate, row) if np.isfinite(low) or value % 1 else f"{value:g}"
        if np.isfinite(low) and np.isfinite(high):
            ax.hlines(place, low, high, color=colour, linewidth=1.4)
        ax.text(1.03, place, note.replace("-", "−"), transform=ax.get_yaxis_transform(), va="center", fontsize=7.5)
    ax.margins(x=0.08)
    is_count = not np.isfinite(panel.low).any() and not (panel.values[np.isfinite(panel.values)] % 1).any()
    if is_count:
        low, high = ax.get_xlim()
        ax.set_xlim(low - 1, high + 1)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=is_count))
    ax.set_title(panel.title)
