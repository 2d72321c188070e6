"""Maps of numbers: heads, layers × positions, attention patterns, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.style import context

from ioi_lab.reports.plots.style import DIVERGING, SEQUENTIAL, STYLE, Array, Axis, plain_number, set_title

_PANELS_PER_ROW: Final = 4
_MAX_TICKS: Final = 64
_LARGEST: Final = 30.0
"""A figure's cells take no more inches than this, however many they are."""

_READABLE_CELLS: Final = 450
"""Above this many cells a panel's numbers would be too small to read, and are left out."""


def heat_maps(
    panels: Mapping[str, Float[Array, "row column"]],
    rows: Axis,
    columns: Axis,
    title: str,
    scale_label: str,
    mark: int = 0,
    *,
    limit: float | None = None,
    upward: bool = False,
    outlined: Sequence[tuple[int, int]] = (),
) -> Figure:
    """Maps side by side on one diverging colour scale centred on 0, each titled by its key; NaN is left blank.

    Values stand in the cells where they can be read. Up to `mark` cells are outlined: those of largest absolute
    value, as far as they reach a tenth of the largest. `limit`: where the colours end, if not at the largest value.
    `upward`: the first row at the bottom. `outlined`: cells that are, whatever their value.
    """
    n_columns = min(len(panels), _PANELS_PER_ROW)
    n_rows = -(-len(panels) // n_columns)
    peak = max(float(np.nanmax(np.abs(values), initial=0.0)) for values in panels.values())
    largest = limit or peak or 1.0
    with context(STYLE):
        width = n_columns * max(1.8, 0.42 * len(columns.ticks) + 0.7) + 1.2
        height = n_rows * max(1.8, 0.27 * len(rows.ticks) + 0.8) + 0.7
        figure = Figure(figsize=(max(width, 5.2), max(height, 3.4)), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        for ax, (name, values) in zip(axes.flat, panels.items(), strict=False):
            image = ax.imshow(
                values,
                cmap=DIVERGING,
                vmin=-largest,
                vmax=largest,
                aspect="auto",
                origin="lower" if upward else "upper",
            )
            ax.set(title=name, xlabel=columns.label, ylabel=rows.label)
            _name_ticks(ax, rows, columns)
            _write_values(ax, values, largest)
            for cell in [*_strongest(values, mark), *outlined]:
                _outline(ax, *cell)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        extend = "both" if largest < peak else "neither"
        figure.colorbar(image, ax=axes, label=scale_label, pad=0.02, aspect=6 * figure.get_figheight(), extend=extend)
        set_title(figure, title)
    return figure


@dataclass(frozen=True)
class Panel:
    """A map of shares between 0 and 1; `texts` stand in its cells, `[row][column]`."""

    name: str
    values: Float[Array, "row column"]
    rows: Axis
    columns: Axis
    texts: Sequence[Sequence[str]] | None = None


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
    """Maps of shares on one colour scale from 0 to 1, or a logarithmic one from `floor` to 1.

    `per_row`: panels beside one another; those of equal axes are named at the outer ones alone. `upward`: the first row
    at the bottom. `cell`: width and height of a cell in inches.
    """
    n_columns = min(len(panels), per_row)
    n_rows = -(-len(panels) // n_columns)
    scale = LogNorm(floor, 1, clip=True) if floor else Normalize(0, 1)
    alike = all((panel.rows, panel.columns) == (panels[0].rows, panels[0].columns) for panel in panels)
    widest, tallest = max(len(p.columns.ticks) for p in panels), max(len(p.rows.ticks) for p in panels)
    with context(STYLE):
        size = (
            n_columns * (min(cell[0] * widest, _LARGEST / n_columns) + 0.45) + 1.5,
            n_rows * (min(cell[1] * tallest, _LARGEST / n_rows) + (0.35 if alike else 0.95)) + 1.5,
        )
        figure = Figure(figsize=(max(size[0], 4.6), max(size[1], 3.0)), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        for index, panel in enumerate(panels):
            ax = axes.flat[index]
            image = ax.imshow(
                panel.values, cmap=SEQUENTIAL, norm=scale, aspect="auto", origin="lower" if upward else "upper"
            )
            ax.set_title(panel.name)
            _name_ticks(ax, panel.rows, panel.columns)
            if not alike or index + n_columns >= len(panels):
                ax.set_xlabel(panel.columns.label)
            else:
                ax.set_xticks([])
            if index % n_columns == 0:
                ax.set_ylabel(panel.rows.label)
            else:
                ax.set_yticks([])
            _write_texts(ax, panel)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        bar = figure.colorbar(image, ax=axes, label=scale_label, pad=0.02, aspect=6 * figure.get_figheight())
        if floor:
            bar.ax.yaxis.set_major_formatter(plain_number)
        set_title(figure, title)
    return figure


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
    if values.size > _READABLE_CELLS:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        colour = "white" if abs(value) > 0.6 * largest else "black"
        text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
        ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)


def _strongest(values: Float[Array, "row column"], count: int) -> list[tuple[int, int]]:
    """Cells of largest absolute value, as far as they reach a tenth of the largest."""
    sizes = np.nan_to_num(np.abs(values))
    order = np.argsort(-sizes, axis=None, kind="stable")[:count]
    cells = [divmod(int(cell), values.shape[1]) for cell in order]
    return [cell for cell in cells if sizes[cell] > 0.1 * sizes.max()]


def _outline(ax: Axes, row: int, column: int) -> None:
    ax.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6, clip_on=False)
    )
