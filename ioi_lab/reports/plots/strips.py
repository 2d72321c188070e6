"""Strips: the same values by one key after another, a dot per value, and the median of each value of the key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context
from numpy.typing import NDArray

from ioi_lab.reports.plots.sizes import (
    CHARACTER,
    MAX_PANELS,
    left_out,
    new_figure,
    room_below,
    shortened,
    thinned,
    wrapped,
)
from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, STYLE, Axis, finish
from ioi_lab.stats.metrics import Array

_PER_ROW: Final = 3
_WIDTH: Final = 2.4
"""The width of a panel, in inches."""

_FEW: Final = 8
"""Up to this number of values of a key of numbers, each of them is a tick."""

_SPREAD: Final = 0.22
"""The greatest distance of a dot from its tick, as a share of the least distance between ticks."""


@dataclass(frozen=True)
class Strip:
    """A panel: an axis, and for each value the number of the tick that it belongs to."""

    axis: Axis
    ticks: Int[NDArray[np.int64], "value"]

    @property
    def places(self) -> Float[Array, "tick"]:
        """The positions of the ticks: the numbers themselves, or equal distances."""
        return np.array(range(len(self.axis.ticks)) if self.axis.places is None else self.axis.places, dtype=float)


def strips(
    panels: Sequence[Strip],
    values: Float[Array, "value"],
    value_label: str,
    title: str,
    *,
    zero: str = "",
    floor: float | None = None,
) -> Figure:
    """Draw the same values in a panel per key, with one y axis.

    Args:
        panels: The panels; of more than `MAX_PANELS`, the first ones are drawn, and the title says so.
        values: The values.
        value_label: The label of the y axis.
        title: The title of the figure.
        zero: The meaning of 0, which gets a dashed line; no line without it.
        floor: The lower end of the y axis, if values are below it.

    """
    shown = panels[:MAX_PANELS]
    title += left_out(len(shown), len(panels), "keys", "the first")
    columns = min(len(shown), _PER_ROW)
    rows = -(-len(shown) // columns)
    words = [panel.axis for panel in shown if panel.axis.places is None]
    below = max((room_below(axis.ticks) for axis in words if _is_narrow(axis)), default=0.0)
    with context(STYLE):
        figure = new_figure((_WIDTH + 0.6) * columns + 1.6, rows * (2.3 + below) + 0.8)
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten().tolist()
        for ax, panel in zip(axes, shown, strict=False):
            _draw(ax, panel, values, has_zero=bool(zero))
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        if floor is not None and (values < floor).any():
            top = float(np.nanmax(values))
            axes[0].set_ylim(floor, top + 0.05 * (top - floor))
        figure.supylabel(wrapped(value_label, int(14 * rows * 2.3)), fontsize=STYLE["font.size"])
        handles = [Line2D([], [], color=NEGATIVE, linewidth=1.2, marker="_", markersize=12, label="median")]
        if zero:
            handles.append(Line2D([], [], color=NEUTRAL, linewidth=0.8, linestyle="--", label=zero))
        figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8)
        finish(figure, title, axes[: len(shown)], legend_width=1.0)
    return figure


def _draw(ax: Axes, panel: Strip, values: Float[Array, "value"], *, has_zero: bool) -> None:
    if has_zero:
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle="--", zorder=1)
    places = panel.places
    room = float(np.diff(np.sort(places)).min()) if len(places) > 1 else 1.0
    aside = np.random.default_rng(0).uniform(-_SPREAD, _SPREAD, len(values)) * room  # seeded: the same figure again
    ax.scatter(places[panel.ticks] + aside, values, s=9, color=POSITIVE, alpha=0.45, linewidths=0)
    medians = np.array([np.median(values[panel.ticks == tick]) for tick in range(len(places))])
    look: dict[str, Any] = {"linestyle": "none"} if panel.axis.places is None else {"linewidth": 1.2}
    ax.plot(places, medians, color=NEGATIVE, marker="_", markersize=12, markeredgewidth=2, **look)
    if panel.axis.places is None:
        ticks = thinned(panel.axis.ticks, _WIDTH, upright=False)
        ax.set_xticks(ticks.places, ticks.names, rotation=60 if ticks.slanted and _is_narrow(panel.axis) else 0)
        ax.set_xlim(-0.6, len(places) - 0.4)
    elif len(places) <= _FEW:
        ax.set_xticks(places, panel.axis.ticks)
    ax.set_xlabel(panel.axis.label)


def _is_narrow(axis: Axis) -> bool:
    """Return whether the names of ticks are too long to stand next to each other."""
    longest = max(len(shortened(name)) for name in axis.ticks)
    return len(axis.ticks) * (CHARACTER * longest + 0.06) > _WIDTH
