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

from ioi_lab.reports.plots.sizes import MAX_PANELS, left_out, new_figure, room_below, room_left, thinned
from ioi_lab.reports.plots.style import DIVERGING, SEQUENTIAL, STYLE, Axis, finish, plain_number
from ioi_lab.stats.metrics import Array

EFFECT_FLOOR: Final = 0.1
"""The colours of a map of effects end here at least, so that a map of next to nothing is pale."""

_PANELS_PER_ROW: Final = 4
_PALE: Final = 0.3
"""The opacity of pale cells."""

_MAX_READABLE_CELLS: Final = 450
"""In a panel with more cells than this, numbers would be too many to read, and are left out."""

_WITHOUT_NUMBERS: Final = (8.0, 6.0)
"""The greatest width and height of all cells of a panel without numbers, in inches, so that its names stay readable."""

_NUMBER: Final = (0.3, 0.13)
"""The least width and height of a cell with a number, in inches."""

_TEXT: Final = 0.055
"""The width of a character of a cell's text, in inches."""


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

    Values are written into the cells if they can be read there, and only the outer maps name the axes. Of more than
    `MAX_PANELS` maps, those with the largest values are drawn.

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
    peaks = {name: float(np.nanmax(np.abs(values), initial=0.0)) for name, values in panels.items()}
    peak = max(peaks.values())
    largest = limit or max(peak, floor) or 1.0
    title += left_out(min(len(panels), MAX_PANELS), len(panels), "maps", "those with the largest values")
    strongest = sorted(peaks, key=lambda name: -peaks[name])[:MAX_PANELS]
    shown = {name: values for name, values in panels.items() if name in strongest}
    layout = _Layout.of(len(shown), _PANELS_PER_ROW)
    with context(STYLE):
        below, left = room_below(columns.ticks), room_left(rows.ticks)
        cells = 0.42 * len(columns.ticks), 0.27 * len(rows.ticks)
        if len(columns.ticks) * len(rows.ticks) > _MAX_READABLE_CELLS:
            cells = min(cells[0], _WITHOUT_NUMBERS[0]), min(cells[1], _WITHOUT_NUMBERS[1])
        width, height = max(1.8, cells[0] + 0.7) + left, max(1.8, cells[1] + 0.8) + below
        figure = new_figure(max(layout.columns * width + 1.2, 5.2), max(layout.rows * height + 0.7, 3.4))
        axes = figure.subplots(layout.rows, layout.columns, squeeze=False)
        cell = layout.cell(figure, len(rows.ticks), len(columns.ticks), left + 0.6, below + 0.8)
        for index, (ax, (name, values)) in enumerate(zip(axes.flat, shown.items(), strict=False)):
            is_pale = np.zeros(values.shape, dtype=bool) if pale is None else pale[name]
            image = _draw_cells(ax, values, DIVERGING, Normalize(-largest, largest), upward)
            image.set_alpha(np.where(is_pale, _PALE, 1.0))
            is_lowest, is_leftmost = index + layout.columns >= len(shown), index % layout.columns == 0
            _name_axes(ax, Panel(name, values, rows, columns), cell, columns=is_lowest, rows=is_leftmost)
            if values.size <= _MAX_READABLE_CELLS and _fits(_NUMBER, cell):
                _write_values(ax, np.where(is_pale, np.nan, values), largest)
            for place in outlined:
                _outline(ax, *place)
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        extend = "both" if largest < peak else "neither"
        figure.colorbar(image, ax=axes, label=scale_label, pad=0.02, aspect=6 * figure.get_figheight(), extend=extend)
        finish(figure, title, axes.flatten().tolist())
    return figure


@dataclass(frozen=True)
class _Layout:
    """The rows and columns in which the panels of a figure stand."""

    rows: int
    columns: int

    @classmethod
    def of(cls, n_panels: int, per_row: int) -> _Layout:
        columns = min(n_panels, per_row)
        return cls(-(-n_panels // columns), columns)

    def cell(self, figure: Figure, n_rows: int, n_columns: int, left: float, below: float) -> tuple[float, float]:
        """Return about how wide and high a cell is, in inches, if names take `left` and `below` of a panel."""
        width = (figure.get_figwidth() - 1.2) / self.columns - left
        height = (figure.get_figheight() - 0.7) / self.rows - below
        return max(width, 0.5) / n_columns, max(height, 0.5) / n_rows


def _fits(text: tuple[float, float], cell: tuple[float, float]) -> bool:
    return text[0] <= cell[0] and text[1] <= cell[1]


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
    title += left_out(min(len(panels), MAX_PANELS), len(panels), "maps", "the first")
    layout = _Layout.of(min(len(panels), MAX_PANELS), per_row if len(panels) <= MAX_PANELS else _PANELS_PER_ROW)
    panels = panels[:MAX_PANELS]
    scale = LogNorm(floor, 1, clip=True) if floor else Normalize(0, 1)
    alike = all((panel.rows, panel.columns) == (panels[0].rows, panels[0].columns) for panel in panels)
    widest, tallest = max(len(p.columns.ticks) for p in panels), max(len(p.rows.ticks) for p in panels)
    below = max(room_below(panel.columns.ticks) for panel in panels)
    left = max(room_left(panel.rows.ticks) for panel in panels)
    each = (0.45, 0.35) if alike else (0.45 + left, 0.95 + below)
    with context(STYLE):
        figure = new_figure(
            max(layout.columns * (cell[0] * widest + each[0]) + 1.5 + left * alike, 4.6),
            max(layout.rows * (cell[1] * tallest + each[1]) + 1.5 + below * alike, 3.0),
        )
        axes = figure.subplots(layout.rows, layout.columns, squeeze=False)
        for index, panel in enumerate(panels):
            ax = axes.flat[index]
            image = _draw_cells(ax, panel.values, SEQUENTIAL, scale, upward)
            is_lowest, is_leftmost = index + layout.columns >= len(panels), index % layout.columns == 0
            size = layout.cell(figure, len(panel.rows.ticks), len(panel.columns.ticks), *each)
            _name_axes(ax, panel, size, columns=is_lowest or not alike, rows=is_leftmost)
            _write_texts(ax, panel, size)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        bar = figure.colorbar(image, ax=axes, label=scale_label, pad=0.02, aspect=6 * figure.get_figheight())
        if floor:
            bar.ax.yaxis.set_major_formatter(plain_number)
        finish(figure, title, axes.flatten().tolist())
    return figure


def _draw_cells(
    ax: Axes, values: Float[Array, "row column"], colours: str, scale: Normalize, upward: bool
) -> AxesImage:
    return ax.imshow(values, cmap=colours, norm=scale, aspect="auto", origin="lower" if upward else "upper")


def _name_axes(ax: Axes, panel: Panel, cell: tuple[float, float], *, columns: bool, rows: bool) -> None:
    """Name a panel, and those of its axes that are to have ticks and a label."""
    ax.set_title(panel.name)
    _name_ticks(ax, panel.rows, panel.columns, cell)
    if columns:
        ax.set_xlabel(panel.columns.label)
    else:
        ax.set_xticks([])
    if rows:
        ax.set_ylabel(panel.rows.label)
    else:
        ax.set_yticks([])


def _write_texts(ax: Axes, panel: Panel, cell: tuple[float, float]) -> None:
    """Write the texts of the cells, if they fit into them."""
    longest = max((len(text) for texts in panel.texts or () for text in texts), default=0)
    if not _fits((_TEXT * longest, _NUMBER[1]), cell):
        return
    for row, texts in enumerate(panel.texts or ()):
        for column, text in enumerate(texts):
            colour = "black" if panel.values[row, column] > 0.6 else "white"
            ax.text(column, row, text, ha="center", va="center", fontsize=6, color=colour, in_layout=False)


def _name_ticks(ax: Axes, rows: Axis, columns: Axis, cell: tuple[float, float]) -> None:
    """Name as many rows and columns as can be read, given the width and height of a cell in inches."""
    across = thinned(columns.ticks, cell[0] * len(columns.ticks), upright=False)
    ha = "right" if across.slanted else "center"
    ax.set_xticks(across.places, across.names, rotation=60 if across.slanted else 0, ha=ha)
    up = thinned(rows.ticks, cell[1] * len(rows.ticks), upright=True)
    ax.set_yticks(up.places, up.names)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def _write_values(ax: Axes, values: Float[Array, "row column"], largest: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        colour = "white" if abs(value) > 0.6 * largest else "black"
        text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
        ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour, in_layout=False)


def _outline(ax: Axes, row: int, column: int) -> None:
    ax.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6, clip_on=False)
    )
