"""The interactive map of a run: a metric by two selectors, with intervals and prompts in the hover text."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Heatmap

from ioi_lab.dashboard.figures import bounds, colour_scale, number, plain, styled, words
from ioi_lab.dashboard.results import ResultGrid
from ioi_lab.runs.nulls import Unedited
from ioi_lab.stats.metrics import Array

_MAX_NUMBERS: Final = 200
"""In a map with more cells, numbers would be too many to read."""

_PALE: Final = 0.3


def map_figure(grid: ResultGrid, title: str, n_prompts: int | None, chosen: int | None = None) -> Figure:
    """Return the map; cells without an effect beyond chance are pale and have no number.

    Args:
        grid: The metric by two selectors.
        title: The title.
        n_prompts: The number of prompts of the run, for hover texts.
        chosen: The row of the results that is outlined.

    """
    figure = Figure()
    add_map(figure, grid, n_prompts)
    figure.update_layout(coloraxis=colours_of(grid.metric, grid.values, grid.results.unedited(grid.metric)))
    if chosen is not None and (grid.row_of == chosen).any():
        row, column = (int(place[0]) for place in np.nonzero(grid.row_of == chosen))
        figure.add_shape(
            type="rect",
            x0=column - 0.5,
            x1=column + 0.5,
            y0=row - 0.5,
            y1=row + 0.5,
            line={"color": "black", "width": 2},
        )
    if grid.not_found.any():
        title += "\npale, without number: not distinguishable from no effect"
    return styled(figure, title, height=int(np.clip(150 + 34 * len(grid.rows), 300, 900)))


def add_map(
    figure: Figure,
    grid: ResultGrid,
    n_prompts: int | None,
    *,
    values: Float[Array, "row column"] | None = None,
    is_pale: Bool[NDArray[np.bool_], "row column"] | None = None,
    hover: list[list[str]] | None = None,
    row: int | None = None,
    col: int | None = None,
) -> None:
    """Add a map to a figure, whose colour axis is the figure's, in a panel of it if `row` and `col` are given.

    Values, pale cells and hover texts are those of the grid, unless others are given.
    """
    values = grid.values if values is None else values
    pale = grid.not_found if is_pale is None else is_pale
    hover = hover_texts(grid, n_prompts) if hover is None else hover
    panel = {} if row is None else {"row": row, "col": col}
    for of_pale in (False, True):
        shown = np.where(pale == of_pale, values, np.nan)
        if np.isfinite(shown).any():
            figure.add_trace(Heatmap(**_cells(grid, shown, hover, is_pale=of_pale)), **panel)
    _name_axes(figure, grid, panel)


def _cells(grid: ResultGrid, values: Float[Array, "row column"], hover: Any, *, is_pale: bool) -> dict[str, Any]:
    with_numbers = not is_pale and values.size <= _MAX_NUMBERS
    texts = [[_two_decimals(value) for value in row] for row in values.tolist()]
    return {
        "z": values,
        "x": list(range(values.shape[1])),
        "y": list(range(values.shape[0])),
        "coloraxis": "coloraxis",
        "opacity": _PALE if is_pale else 1.0,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "customdata": grid.row_of,
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
    } | ({"text": texts, "texttemplate": "%{text}"} if with_numbers else {})


def _two_decimals(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−") if np.isfinite(value) else ""


def colours_of(metric: str, values: Float[Array, "*cell"], white: Unedited | None) -> dict[str, Any]:
    """Return the colour axis of a metric with its scale, which is white at the value of the run without edits."""
    note = "" if white is None else f"<br>(white: {number(white.value)},<br>{plain(white.run or 'no effect')})"
    bar = {"title": {"text": plain(words(metric)) + note, "side": "right"}, "thickness": 14}
    return colour_scale(values, None if white is None else white.value) | {"colorbar": bar}


def _name_axes(figure: Figure, grid: ResultGrid, panel: dict[str, Any]) -> None:
    """Name the axes and their ticks; the first layer is at the top, as in the figures of run folders."""
    for update, name, ticks in (
        (figure.update_yaxes, grid.across, grid.rows),
        (figure.update_xaxes, grid.along or "", grid.columns),
    ):
        step = max(1, len(ticks) // 40)
        places = list(range(0, len(ticks), step))
        update(
            title=words(name),
            tickvals=places,
            ticktext=[plain(ticks[place])[:30] for place in places],
            showgrid=False,
            zeroline=False,
            range=[-0.5, len(ticks) - 0.5],
            **panel,
        )
    figure.update_yaxes(range=[len(grid.rows) - 0.5, -0.5], **panel)


def hover_texts(grid: ResultGrid, n_prompts: int | None) -> list[list[str]]:
    """Return the hover text of each cell: the site, the value with its interval, the test, the number of prompts."""
    values, low, high = (grid.column(f"{grid.metric}{bound}") for bound in ("", "_low", "_high"))
    p_adjusted, hidden = grid.column("p_adjusted"), grid.not_found
    has_remark = "roles" in grid.results.table
    texts = []
    for row in range(values.shape[0]):
        line = []
        for column in range(values.shape[1]):
            index = int(grid.row_of[row, column])
            if index < 0:
                line.append("")
                continue
            parts = [f"<b>{plain(grid.results.name_of(index))}</b>"]
            value = number(values[row, column]) + bounds(low[row, column], high[row, column])
            parts.append(f"{plain(words(grid.metric))} {value}")
            if grid.metric == "recovery" and np.isfinite(p_adjusted[row, column]):
                parts.append(f"adjusted p {number(p_adjusted[row, column], 2)}")
            if hidden[row, column]:
                parts.append("not distinguishable from no effect")
            if has_remark and isinstance(remark := grid.results.table["roles"].iloc[index], str):
                parts.append(plain(remark))
            if n_prompts:
                parts.append(f"{n_prompts} prompts, 95 % interval")
            line.append("<br>".join(parts))
        texts.append(line)
    return texts
