"""The figures of a comparison: maps on one scale, paired differences, and values site by site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from ioi_lab.dashboard.comparison import ComparedRun, Difference
from ioi_lab.dashboard.figures import (
    ABOVE,
    COLOURS,
    DIVERGING,
    NEUTRAL,
    SYMBOLS,
    bounds,
    colour_scale,
    number,
    plain,
    styled,
    words,
)
from ioi_lab.dashboard.maps import add_map, colours_of
from ioi_lab.dashboard.results import ResultGrid
from ioi_lab.stats.metrics import Array

_PER_ROW: Final = 4


def maps_figure(
    grids: Sequence[ResultGrid], names: Sequence[str], metric: str, n_prompts: Sequence[int | None]
) -> Figure:
    """Return the map of each run, all on one colour scale."""
    columns = min(len(grids), _PER_ROW if len(grids) != 3 else 3)
    rows = -(-len(grids) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[plain(name) for name in names],
        horizontal_spacing=0.06,
        vertical_spacing=0.16 / rows,
    )
    for place, grid in enumerate(grids):
        add_map(figure, grid, n_prompts[place], row=place // columns + 1, col=place % columns + 1)
    values = np.concatenate([grid.values.ravel() for grid in grids])
    whites = [grid.results.unedited(metric) for grid in grids]
    figure.update_layout(coloraxis=colours_of(metric, values, whites[0] if len(set(whites)) == 1 else None))
    figure.update_annotations(font={"size": 12})
    tallest = max(len(grid.rows) for grid in grids)
    height = int(np.clip(rows * (110 + 30 * tallest) + 60, 320, 1400))
    title = f"{words(metric)}, on one scale"
    title += "\npale: not distinguishable from no effect" if any(grid.not_found.any() for grid in grids) else ""
    return styled(figure, title, height=height).update_layout(margin={"t": 90})


def difference_map(grid: ResultGrid, labels: Sequence[str], difference: Difference, title: str) -> Figure:
    """Return the paired differences in the cells of a run's map.

    Args:
        grid: The map whose axes are used: that of the first run.
        labels: The label of each row of its results.
        difference: The differences.
        title: The title.

    """
    place = {label: index for index, label in enumerate(difference.labels)}
    index_of = np.array([[place.get(labels[row], -1) if row >= 0 else -1 for row in line] for line in grid.row_of])
    known = index_of >= 0
    values = np.where(known, difference.value[index_of], np.nan)
    is_found = known & difference.found[index_of]
    hover = [
        [
            f"<b>{plain(difference.labels[index])}</b><br>difference {number(difference.value[index])}"
            f"{bounds(difference.low[index], difference.high[index])}"
            + ("" if difference.found[index] else "<br>not distinguishable from 0")
            + f"<br>paired over {difference.n_prompts} prompts"
            if index >= 0
            else ""
            for index in line
        ]
        for line in index_of
    ]
    figure = Figure()
    add_map(figure, grid, None, values=values, is_pale=known & ~is_found, hover=hover)
    bar = {"title": {"text": "difference of the<br>logit difference", "side": "right"}, "thickness": 14}
    scale = colour_scale(values, 0.0) | {"colorscale": DIVERGING}
    figure.update_layout(coloraxis=scale | {"colorbar": bar})
    note = "\npale, without number: not distinguishable from 0" if (known & ~is_found).any() else ""
    return styled(figure, title + note, height=int(np.clip(150 + 34 * len(grid.rows), 300, 900)))


def scatter_figure(runs: Sequence[ComparedRun], names: Sequence[str], metric: str, labels: Sequence[str]) -> Figure:
    """Return the values of each further run over those of the first one, a point per site, with intervals."""
    figure = Figure()
    first, low, high = (runs[0].values(f"{metric}{end}", labels) for end in ("", "_low", "_high"))
    texts = [plain(label) for label in labels]
    seen = [first]
    for place, run in enumerate(runs[1:], start=1):
        values, run_low, run_high = (run.values(f"{metric}{end}", labels) for end in ("", "_low", "_high"))
        seen.append(values)
        colour = COLOURS[(place - 1) % len(COLOURS)]
        figure.add_scatter(
            x=first,
            y=values,
            mode="markers",
            name=plain(names[place]),
            marker={"color": colour, "symbol": SYMBOLS[(place - 1) % len(SYMBOLS)], "size": 8, "opacity": 0.8},
            error_x=_bars(first, low, high, colour),
            error_y=_bars(values, run_low, run_high, colour),
            text=texts,
            hovertemplate=f"<b>%{{text}}</b><br>{names[0][:1]}: %{{x:.3f}}<br>{names[place][:1]}: %{{y:.3f}}"
            "<extra></extra>",
        )
    every = np.concatenate(seen)
    if np.isfinite(every).any():
        ends = [float(np.nanmin(every)), float(np.nanmax(every))]
        figure.add_scatter(
            x=ends, y=ends, mode="lines", line={"color": NEUTRAL, "dash": "dot"}, hoverinfo="skip", name="equal values"
        )
    figure.update_xaxes(title=plain(f"{words(metric)} in {names[0]}"), zerolinecolor="#999999")
    figure.update_yaxes(title=plain(f"{words(metric)} in the other"), zerolinecolor="#999999")
    return styled(
        figure,
        f"Site by site: {len(labels)} sites, with 95 % intervals",
        height=480,
        legend=ABOVE | {"y": -0.18, "yanchor": "top"},
    )


def _bars(
    values: Float[Array, "site"], low: Float[Array, "site"], high: Float[Array, "site"], colour: str
) -> dict[str, object]:
    """Return error bars; a site whose interval is unknown has none."""
    return {
        "type": "data",
        "symmetric": False,
        "array": np.nan_to_num(high - values),
        "arrayminus": np.nan_to_num(values - low),
        "color": colour,
        "thickness": 0.7,
        "width": 0,
    }
