"""The figures of a sweep: lines with bands, maps, and parallel coordinates; facets become small multiples."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Final

import numpy as np
from plotly.colors import sample_colorscale
from plotly.graph_objects import Figure, Heatmap, Scatter
from plotly.subplots import make_subplots

from ioi_lab.dashboard.figures import (
    COLOURS,
    NEUTRAL,
    SEQUENTIAL,
    SYMBOLS,
    band,
    bounds,
    colour_scale,
    number,
    plain,
    styled,
    words,
)
from ioi_lab.dashboard.maps import colours_of
from ioi_lab.dashboard.sweep_data import NONE, Choice, Point, SweepData, Value, text_of
from ioi_lab.reports.wording import counted

MAX_LINES: Final = 20
MAX_FACETS: Final = 12
_MAX_TICKS: Final = 12
"""The greatest number of different values of x that are all ticks."""

_MAX_NUMBERS: Final = 150
"""The greatest number of cells of a map in which values are written."""


def line_figure(data: SweepData, choice: Choice) -> Figure:
    """Return the metric along x, a line with its band per value of another key, a panel per value of a third."""
    facets, lines = data.levels(choice.facet)[:MAX_FACETS], data.levels(choice.line)[:MAX_LINES]
    figure, place = _panels(facets, choice.facet)
    points, numeric = data.points(choice), choice.x != NONE and choice.x in data.numeric
    colours = _colours(lines, is_ordered=choice.line != NONE and choice.line in data.numeric)
    for number_of, line in enumerate(lines):
        for facet in facets:
            shown = [point for point in points if point.line == line and point.facet == facet]
            look = {"colour": colours[number_of], "symbol": SYMBOLS[number_of % len(SYMBOLS)]}
            name = "all" if choice.line == NONE else f"{_short(choice.line)} = {line}"
            for trace in _line(shown, name, choice, numeric, **look, is_first=facet == facets[0]):
                figure.add_trace(trace, **place(facet))
    for facet in facets:
        for trace in _unedited([point for point in points if point.facet == facet], numeric):
            figure.add_trace(trace, **place(facet))
    figure.update_xaxes(
        title=plain(_short(choice.x)) if choice.x != NONE else "", type="linear" if numeric else "category"
    )
    figure.update_yaxes(title=plain(words(choice.metric)), col=1)
    values = sorted({point.x for point in points if isinstance(point.x, float)})
    if numeric and len(values) <= _MAX_TICKS:
        figure.update_xaxes(tickvals=values, ticktext=[text_of(value).replace("-", "−") for value in values])
    return _titled(figure, points, choice, len(facets)).update_layout(showlegend=choice.line != NONE)


def _line(
    points: Sequence[Point], name: str, choice: Choice, numeric: bool, *, colour: str, symbol: str, is_first: bool
) -> list[Scatter]:
    """Return the line and the band of points, or points with bars if x is a text."""
    if not points:
        return []
    x, y = [point.x for point in points], [point.value for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    traces = [Scatter(band(x, low, high, colour, legendgroup=name))] if numeric and len(points) > 1 else []
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [h - v for h, v in zip(high, y, strict=True)],
        "arrayminus": [v - each for each, v in zip(low, y, strict=True)],
        "width": 3,
    }
    line = Scatter(
        x=x,
        y=y,
        name=plain(name),
        legendgroup=name,
        showlegend=is_first,
        mode="lines+markers" if numeric else "markers",
        line={"color": colour},
        marker={"color": colour, "symbol": symbol, "size": 8},
        error_y=None if traces else bars,
        customdata=[list(point.folders[:20]) for point in points],
        hovertext=[hover_text(point, choice) for point in points],
        hoverinfo="text",
    )
    return [*traces, line]


def _unedited(points: Sequence[Point], numeric: bool) -> list[Scatter]:
    """Return a dotted line, or bars at texts, of the values without edits: the mean over the lines at each x.

    There is none if some values are unknown.
    """
    levels: dict[Value, list[float]] = {}
    for point in points:
        if point.unedited is None:
            return []
        levels.setdefault(point.x, []).append(point.unedited)
    look = {"color": NEUTRAL, "width": 1.2, "dash": "dot"}
    y = [fmean(values) for values in levels.values()]
    shown = {"x": list(levels), "y": y, "name": "unedited", "hoverinfo": "skip", "showlegend": False}
    if numeric:
        return [Scatter(shown, mode="lines", line=look)]
    return [
        Scatter(
            shown, mode="markers", marker={"symbol": "line-ew", "size": 34, "line": {"color": NEUTRAL, "width": 1.5}}
        )
    ]


def map_figure(data: SweepData, choice: Choice) -> Figure:
    """Return the metric by two keys as a map, a panel per value of a third, all on one scale."""
    facets = data.levels(choice.facet)[:MAX_FACETS]
    figure, place = _panels(facets, choice.facet)
    columns, rows = data.levels(choice.x), data.levels(choice.line)
    points = data.points(choice)
    for facet in facets:
        values, hover = np.full((len(rows), len(columns)), np.nan), np.full((len(rows), len(columns)), "", dtype=object)
        folders = np.full((len(rows), len(columns)), "", dtype=object)
        for point in points:
            if point.facet == facet and text_of(point.x) in columns:
                cell = rows.index(point.line), columns.index(text_of(point.x))
                values[cell], hover[cell], folders[cell] = point.value, hover_text(point, choice), point.folders[0]
        texts = (
            [[number(value, 3) for value in row] for row in values.tolist()] if values.size <= _MAX_NUMBERS else None
        )
        trace = Heatmap(
            z=values,
            x=[plain(column) for column in columns],
            y=[plain(row) for row in rows],
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            hovertext=hover,
            hoverinfo="text",
            hoverongaps=False,
            customdata=folders,
            text=texts,
            texttemplate="%{text}" if texts else None,
        )
        figure.add_trace(trace, **place(facet))
    every = np.array([point.value for point in points] or [np.nan])
    figure.update_layout(coloraxis=colours_of(choice.metric, every, data.unedited(choice.metric)))
    figure.update_xaxes(title=plain(_short(choice.x)) if choice.x != NONE else "", type="category")
    figure.update_yaxes(type="category")
    figure.update_yaxes(title=plain(_short(choice.line)) if choice.line != NONE else "", col=1)
    return _titled(figure, points, choice, len(facets))


def parallel_figure(data: SweepData, choice: Choice) -> Figure:
    """Return all keys and the metric as parallel axes, a line per run: drag along an axis to choose runs."""
    rows = [row for row in data.rows if isinstance(row.get(choice.metric), int | float)]
    values = np.array([float(row[choice.metric]) for row in rows] or [np.nan])
    dimensions: list[dict[str, Any]] = []
    for key in data.keys:
        if key in data.numeric:
            dimensions.append({"label": plain(_short(key)), "values": [float(data.value(row, key)) for row in rows]})
            continue
        levels = data.levels(key)
        place = {level: index for index, level in enumerate(levels)}
        ticks = {"tickvals": list(range(len(levels))), "ticktext": [plain(level)[:24] for level in levels]}
        dimensions.append(
            {"label": plain(_short(key)), "values": [place[text_of(data.value(row, key))] for row in rows]} | ticks
        )
    dimensions.append({"label": plain(words(choice.metric)), "values": values})
    white = data.unedited(choice.metric)
    scale = colour_scale(values, None if white is None else white.value)
    line = {"color": values, "colorscale": scale["colorscale"], "cmin": scale["cmin"], "cmax": scale["cmax"]}
    figure = Figure()
    figure.add_parcoords(dimensions=dimensions, line=line | {"showscale": True})
    title = f"{words(choice.metric)}: {counted(len(rows), 'run')}; drag along an axis to choose"
    return styled(figure, title, height=520).update_layout(margin={"t": 110, "l": 80, "r": 60})


def hover_text(point: Point, choice: Choice) -> str:
    """Return the hover text of a point: its keys, its value, and what its interval is."""
    places = zip((choice.x, choice.line, choice.facet), (text_of(point.x), point.line, point.facet), strict=True)
    lines = [f"{plain(_short(key))} = {plain(value)}" for key, value in places if key != NONE]
    many = len(point.folders)
    interval = bounds(point.low, point.high) if many > 1 or point.low < point.high else ""  # else it is unknown
    lines.append(f"<b>{plain(words(choice.metric))} {number(point.value)}</b>{interval}")
    lines.append(f"mean of {many} runs, [lowest, highest]" if many > 1 else plain(point.folders[0]))
    return "<br>".join(lines)


def _panels(facets: Sequence[str], key: str) -> tuple[Figure, Any]:
    """Return a figure with a panel per facet, and a function that gives the place of a facet's panel."""
    columns = min(len(facets), 4 if len(facets) != 3 else 3)
    rows = -(-len(facets) // columns)
    titles = [plain(f"{_short(key)} = {facet}") for facet in facets] if key != NONE else None
    figure = make_subplots(
        rows, columns, subplot_titles=titles, shared_yaxes="all", horizontal_spacing=0.03, vertical_spacing=0.22 / rows
    )

    def place(facet: str) -> dict[str, int]:
        index = facets.index(facet)
        return {"row": index // columns + 1, "col": index % columns + 1}

    return figure, place


def _titled(figure: Figure, points: Sequence[Point], choice: Choice, n_facets: int) -> Figure:
    most = max((len(point.folders) for point in points), default=0)
    title = f"{words(choice.metric)}: {counted(sum(len(point.folders) for point in points), 'run')}"
    title += f", points are means of up to {most} runs" if most > 1 else ""
    rows = -(-n_facets // 4) if n_facets > 1 else 1
    figure.update_annotations(font={"size": 12})
    return styled(figure, title, height=(460 if rows == 1 else 300 * rows + 80)).update_layout(margin={"t": 90})


def _colours(lines: Sequence[str], *, is_ordered: bool) -> list[str]:
    """Return a colour per line: shades from dark to light for numbers, different ones for texts."""
    if is_ordered and len(lines) > 2:
        return list(sample_colorscale(SEQUENTIAL, np.linspace(0.0, 0.85, len(lines)).tolist()))
    return [COLOURS[place % len(COLOURS)] for place in range(len(lines))]


def _short(key: str) -> str:
    """Return the last part of a key: `intervention.layer` → `layer`."""
    return key.removeprefix("intervention.")
