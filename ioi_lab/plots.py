"""Arrays and labels → matplotlib figures, nothing else. Colours are safe for colour-blind readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.style import context
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIVERGING: Final = "RdBu"
INTERVAL: Final = "95 % bootstrap intervals over prompts"
POSITIVE, NEGATIVE, NEUTRAL = "#2166ac", "#b2182b", "#555555"
_STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 10,
    "text.parse_math": False,  # a token may hold dollar signs
}
_PANELS_A_ROW: Final = 4
_READABLE_CELLS: Final = 450
"""Above this many cells a panel's numbers would be too small to read, and are left out."""


@dataclass(frozen=True)
class Axis:
    """What an axis is and the names of its ticks."""

    label: str
    ticks: Sequence[str]


def png(figure: Figure) -> bytes:
    """The figure as a PNG of print quality."""
    buffer = BytesIO()
    with context(_STYLE):
        figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def heat_maps(
    panels: Mapping[str, Float[Array, "row column"]],
    rows: Axis,
    columns: Axis,
    title: str,
    scale_label: str,
    mark: int = 0,
) -> Figure:
    """Maps side by side on one diverging colour scale centred on 0, each titled by its key.

    Values stand in the cells where they can be read. Up to `mark` cells are outlined: those of largest absolute
    value, as far as they reach a tenth of the largest.
    """
    n_columns = min(len(panels), _PANELS_A_ROW)
    n_rows = -(-len(panels) // n_columns)
    largest = max(float(np.abs(values).max()) for values in panels.values()) or 1.0
    with context(_STYLE):
        width = n_columns * max(1.8, 0.42 * len(columns.ticks) + 0.7) + 1.2
        height = n_rows * max(1.8, 0.27 * len(rows.ticks) + 0.8) + 0.7
        figure = Figure(figsize=(max(width, 5.2), max(height, 3.4)), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        for ax, (name, values) in zip(axes.flat, panels.items(), strict=False):
            image = ax.imshow(values, cmap=DIVERGING, vmin=-largest, vmax=largest, aspect="auto")
            ax.set(title=name, xlabel=columns.label, ylabel=rows.label)
            _name_ticks(ax, rows, columns)
            _write_values(ax, values, largest)
            _outline(ax, values, mark)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        figure.colorbar(image, ax=axes, label=scale_label, pad=0.02, aspect=6 * figure.get_figheight())
        figure.suptitle(title)
    return figure


def ranked_bars(
    bars: Axis,
    values: Float[Array, "bar"],
    low: Float[Array, "bar"],
    high: Float[Array, "bar"],
    value_label: str,
    title: str,
) -> Figure:
    """Horizontal bars, first on top, with intervals; positive and negative in two colours."""
    with context(_STYLE):
        figure = Figure(figsize=(5.6, 0.25 * len(bars.ticks) + 1.5), layout="constrained")
        ax = figure.subplots()
        places = np.arange(len(bars.ticks))
        colours = [POSITIVE if value >= 0 else NEGATIVE for value in values]
        ax.barh(places, values, color=colours, xerr=_whiskers(values, low, high), ecolor=NEUTRAL, capsize=2)
        ax.set_yticks(places, bars.ticks)
        ax.invert_yaxis()
        ax.axvline(0, color="black", linewidth=0.8)
        note = f"\nwith {INTERVAL}" if np.isfinite(low).all() else ""
        ax.set(xlabel=value_label + note, ylabel=bars.label)
        figure.suptitle(title)
    return figure


def interval_line(
    axis: Axis,
    values: Float[Array, "tick"],
    low: Float[Array, "tick"],
    high: Float[Array, "tick"],
    value_label: str,
    title: str,
) -> Figure:
    """Values along an axis with their interval as a band, and a dashed line at 0, where nothing changes."""
    with context(_STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        ax = figure.subplots()
        places = np.arange(len(axis.ticks))
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle="--", label="no edit")
        ax.plot(places, values, color=POSITIVE, marker="o", markersize=4)
        if np.isfinite(low).all():
            ax.fill_between(places, low, high, color=POSITIVE, alpha=0.25, linewidth=0, label=INTERVAL)
        ax.set_xticks(places, axis.ticks)
        ax.set(xlabel=axis.label, ylabel=value_label)
        ax.legend(frameon=False)
        figure.suptitle(title)
    return figure


def scatter(
    x: Float[Array, "point"],
    y: Float[Array, "point"],
    labels: Sequence[str],
    x_label: str,
    y_label: str,
    title: str,
    named: int = 5,
) -> Figure:
    """Points with the line where both values agree; the `named` points farthest from the origin bear their label."""
    with context(_STYLE):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        ax = figure.subplots()
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        ax.plot([low, high], [low, high], color=NEUTRAL, linewidth=0.8, linestyle="--", label="estimate = exact")
        ax.scatter(x, y, color=POSITIVE, s=14, alpha=0.7, linewidths=0)
        for rank, point in enumerate(np.argsort(-np.hypot(x, y), kind="stable")[:named]):
            above = (4, 3) if rank % 2 == 0 else (4, -9)  # neighbours in rank are often neighbours in the figure
            ax.annotate(labels[point], (x[point], y[point]), xytext=above, textcoords="offset points", fontsize=8)
        ax.margins(0.08)
        ax.set(xlabel=x_label, ylabel=y_label)
        ax.legend(frameon=False, loc="upper left")
        figure.suptitle(title)
    return figure


def _name_ticks(ax: Axes, rows: Axis, columns: Axis) -> None:
    long = max(len(tick) for tick in columns.ticks) > 4
    ax.set_xticks(
        range(len(columns.ticks)), columns.ticks, rotation=60 if long else 0, ha="right" if long else "center"
    )
    ax.set_yticks(range(len(rows.ticks)), rows.ticks)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def _write_values(ax: Axes, values: Float[Array, "row column"], largest: float) -> None:
    if values.size > _READABLE_CELLS:
        return
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 * largest else "black"
        text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
        ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)


def _outline(ax: Axes, values: Float[Array, "row column"], count: int) -> None:
    strongest = np.argsort(-np.abs(values), axis=None, kind="stable")[:count]
    for row, column in zip(*np.unravel_index(strongest, values.shape), strict=True):
        if abs(values[row, column]) <= 0.1 * np.abs(values).max():
            break
        ax.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6, clip_on=False)
        )


def _whiskers(values: Array, low: Array, high: Array) -> Float[Array, "2 bar"] | None:
    """Distances from the values to their bounds; None where there are no bounds."""
    if not np.isfinite(low).all():
        return None
    return np.clip(np.stack([values - low, high - values]), 0, None)
