"""Maps of numbers in coloured cells: layers × heads, layers × positions, attention patterns, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.style import context
from numpy.typing import NDArray

from ioi_lab.reports.plots.style import DIVERGING, SEQUENTIAL, STYLE, Axis, plain_number, set_title
from ioi_lab.stats.metrics import Array

EFFECT_FLOOR: Final = 0.1
"""The colours of a map of effects end here at least, so that a map of next to nothing is pale."""

_PANELS_PER_ROW: Final = 4
_MAX_TICKS: Final = 64
_MAX_INCHES: Final = 30.0
"""The greatest width and height of all cells of a figure, however many there are."""

_PALE: Final = 0.3
"""The opacity of pale cells."""

_MAX_READABLE_CELLS: Final = 450
"""In a panel with more cells than this, numbers would be too small to read, and are left out."""


def heat_maps(
    panels: Mapping[str, Float[Array, "row column"]],
    rows: Axis,
    columns: Axis,
    title: str,
    scale_label: str,
    *,
    limit: float | None = None,
    floor: float = 0.0,
    upward: bool = False,
    pale: Mapping[str, Bool[NDArray[np.bool_], "row column"]] | None = None,
    outlined: Sequence[tuple[int, int]] = (),
) -> Figure:
    """Draw maps side by side on one diverging colour scale that is centred on 0.

    Values are written into the cells if they can be read there.

    Args:
        panels: The values of each map, by its title; cells with NaN are left blank.
        rows: The axis of the rows of every map.
        columns: The axis of the columns of every map.
        title: The title of the figure.
        scale_label: The label of the colour scale.
        limit: The value at which the colours end; by default the largest absolute value.
        floor: The least value at which they end by default.
        upward: Whether the first row is at the bottom.
        pale: The cells of each map that show no effect beyond chance: in pale colours, without their values.
        outlined: The cells (row, column) of every map to outline.

    """
    n_columns = min(len(panels), _PANELS_PER_ROW)
    n_rows = -(-len(panels) // n_columns)
    peak = max(float(np.nanmax(np.abs(values), initial=0.0)) for values in panels.values())
    largest = limit or max(peak, floor) or 1.0
    with context(STYLE):
        width = n_columns * max(1.8, 0.42 * len(columns.ticks) + 0.7) + 1.2
        height = n_rows * max(1.8, 0.27 * len(rows.ticks) + 0.8) + 0.7
        figure = Figure(figsize=(max(width, 5.2), max(height, 3.4)), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        for ax, (name, values) in zip(axes.flat, panels.items(), strict=False):
            is_pale = np.zeros(values.shape, dtype=bool) if pale is None else pale[name]
            image = _draw_cells(ax, values, DIVERGING, Normalize(-largest, largest), upward)
            image.set_alpha(np.where(is_pale, _PALE, 1.0))
            ax.set(title=name, xlabel=columns.label, ylabel=rows.label)
            _name_ticks(ax, rows, columns)
            _write_values(ax, np.where(is_pale, np.nan, values), largest)
            for cell in outlined:
                _outline(ax, *cell)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        extend = "both" if largest < peak else "neither"
        figure.colorbar(image, ax=axes, label=scale_label, pad=0.02, aspect=6 * figure.get_figheight(), extend=extend)
        set_title(figure, title)
    return figure


@dataclass(frozen=True)
class Panel:
    """A map of shares between 0 and 1."""

    name: str
    values: Float[Array, "row column"]
    rows: Axis
    columns: Axis
    texts: Sequence[Sequence[str]] | None = None
    """The texts of the cells, `[row][column]`."""


def share_maps(
    panels: Sequence[Panel],
    title: str,
    scale_label: str,
    *,
    per_row: int = 2,
    upward: bool = False,
    cell: tuple[float, float] = (0.42, 0.24),
    floor: float | None = None,
) -> Figure:
    """Draw maps of shares on one colour scale from 0 to 1, or on a logarithmic one from `floor` to 1.

    If all panels have the same axes, only the outer panels name them.

    Args:
        panels: The maps.
        title: The title of the figure.
        scale_label: The label of the colour scale.
        per_row: The number of panels next to one another.
        upward: Whether the first row of a map is at the bottom.
        cell: The width and height of a cell in inches, which are less in maps of many cells.
        floor: The lower end of a logarithmic colour scale.

    """
    n_columns = min(len(panels), per_row)
    n_rows = -(-len(panels) // n_columns)
    scale = LogNorm(floor, 1, clip=True) if floor else Normalize(0, 1)
    alike = all((panel.rows, panel.columns) == (panels[0].rows, panels[0].columns) for panel in panels)
    widest, tallest = max(len(p.columns.ticks) for p in panels), max(len(p.rows.ticks) for p in panels)
    with context(STYLE):
        size = (
            n_columns * (min(cell[0] * widest, _MAX_INCHES / n_columns) + 0.45) + 1.5,
            n_rows * (min(cell[1] * tallest, _MAX_INCHES / n_rows) + (0.35 if alike else 0.95)) + 1.5,
        )
        figure = Figure(figsize=(max(size[0], 4.6), max(size[1], 3.0)), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        for index, panel in enumerate(panels):
            ax = axes.flat[index]
            image = _draw_cells(ax, panel.values, SEQUENTIAL, scale, upward)
            is_lowest, is_leftmost = index + n_columns >= len(panels), index % n_columns == 0
            _name_axes(ax, panel, columns=is_lowest or not alike, rows=is_leftmost)
            _write_texts(ax, panel)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        bar = figure.colorbar(image, ax=axes, label=scale_label, pad=0.02, aspect=6 * figure.get_figheight())
        if floor:
            bar.ax.yaxis.set_major_formatter(plain_number)
        set_title(figure, title)
    return figure


def _draw_cells(
    ax: Axes, values: Float[Array, "row column"], colours: str, scale: Normalize, upward: bool
) -> AxesImage:
    return ax.imshow(values, cmap=colours, norm=scale, aspect="auto", origin="lower" if upward else "upper")


def _name_axes(ax: Axes, panel: Panel, *, columns: bool, rows: bool) -> None:
    """Name a panel, and those of its axes that are to have ticks and a label."""
    ax.set_title(panel.name)
    _name_ticks(ax, panel.rows, panel.columns)
    if columns:
        ax.set_xlabel(panel.columns.label)
    else:
        ax.set_xticks([])
    if rows:
        ax.set_ylabel(panel.rows.label)
    else:
        ax.set_yticks([])


def _write_texts(ax: Axes, panel: Panel) -> None:
    for row, texts in enumerate(panel.texts or ()):
        for column, text in enumerate(texts):
            colour = "black" if panel.values[row, column] > 0.6 else "white"
            ax.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)


def _name_ticks(ax: Axes, rows: Axis, columns: Axis) -> None:
    long = max(len(tick) for tick in columns.ticks) > 4
    step = -(-len(columns.ticks) // _MAX_TICKS)
    ax.set_xticks(
        range(0, len(columns.ticks), step),
        columns.ticks[::step],
        rotation=60 if long else 0,
        ha="right" if long else "center",
    )
    step = -(-len(rows.ticks) // _MAX_TICKS)
    ax.set_yticks(range(0, len(rows.ticks), step), rows.ticks[::step])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def _write_values(ax: Axes, values: Float[Array, "row column"], largest: float) -> None:
    if values.size > _MAX_READABLE_CELLS:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        colour = "white" if abs(value) > 0.6 * largest else "black"
        text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
        ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)


def _outline(ax: Axes, row: int, column: int) -> None:
    ax.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6, clip_on=False)
    )
