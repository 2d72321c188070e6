"""A circuit: the curves of methods, and a slider over its size that redraws the graph and lists the edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ioi_lab.dashboard.circuit_figures import curve_figure, graph_figure
from ioi_lab.dashboard.circuits import CircuitRun, Line
from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.figures import bounds, number
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.parts import (
    badge,
    choice,
    control,
    graph,
    grid,
    message,
    note,
    number_column,
    run_link,
    view_store,
    with_interval,
)
from ioi_lab.dashboard.results import UnreadableError
from ioi_lab.dashboard.views import CircuitView, view_at
from ioi_lab.reports.wording import counted

_COLUMNS: Final = (
    {"field": "edge", "headerName": "Edge", "flex": 2, "minWidth": 200},
    {"field": "position", "headerName": "Position", "flex": 1},
    number_column("score", "Score", digits=4),
    number_column("score_low", "Lower bound", digits=4),
    number_column("score_high", "Upper bound", digits=4),
)


def layout(index: Index, view: CircuitView) -> Component:
    """Return the page: a circuit, or the list of runs that have one."""
    if not view.folder and index.get(".") is None:
        return _list(index)
    entry = index.get(view.folder)
    if entry is None:
        return message("There is no such run", f"{view.folder!r} is not a run in {index.runs.path}.")
    try:
        run = _read(index, entry)
    except UnreadableError as error:
        return message("No circuit", f"{error}; circuits are made by intervention=circuit.")
    line = run.line_of(view.method)
    if line is None:
        return message("No scores", "No method of this run has scores of edges, so there is no circuit to draw.")
    size = nearest(run, view.size)
    names = {":".join(each): each[0] if len(run.lines) == 1 else " · ".join(each) for each in run.lines}
    figures = html.Div(
        [
            html.Div(graph("circuit-curve", curve_figure(run, size, "Faithfulness by size")), className="panel"),
            html.Div([html.Div(control("Method of the graph", choice("circuit-method", names, ":".join(line)))),
                      html.Div(words_of(run, line, size), id="circuit-words", className="note")], className="panel"),
        ],
        className="wide-narrow",
    )  # fmt: skip
    return html.Div(
        [
            view_store(replace(view, folder=entry.folder)),
            html.H2([entry.title, " ", badge(entry.status)]),
            html.Div([run_link(entry), f" · {run.graph.n_edges:,} edges in all"], className="note"),
            figures,
            html.Div(
                [
                    html.Div([html.Span("Number of edges", className="hint"), slider(run, size)]),
                    graph("circuit-graph", _graph(run, line, size)),
                ],
                className="panel",
            ),
            html.Div(_table(run, line, size), id="circuit-edges"),
        ]
    )


def nearest(run: CircuitRun, size: int | None) -> int:
    """Return the size of the slider that is nearest to one; without one, that of the circuit that the run has kept."""
    wanted = run.kept_size if size is None else size
    return min(run.sizes, key=lambda each: abs(each - wanted))


def slider(run: CircuitRun, size: int) -> Component:
    """Return the slider, on whose steps the sizes stand; those that were measured are marked, unless too narrow."""
    marks, last = {}, -10
    for place, each in enumerate(run.sizes):
        if each in run.measured and place - last >= 3:
            marks[place], last = f"{each:,}", place
    return dcc.Slider(
        min=0,
        max=len(run.sizes) - 1,
        step=1,
        value=run.sizes.index(size),
        marks=marks,
        id="circuit-size",
        updatemode="mouseup",
        allow_direct_input=False,
        disabled=len(run.sizes) == 1,
    )


def words_of(run: CircuitRun, line: Line, size: int) -> list[Component]:
    """Return what is known of the circuit of a size, in sentences."""
    n_edges = int(run.circuit(line, size).sum())
    dropped = f" {size - n_edges} of the {size:,} best connect nothing and are left out." if n_edges < size else ""
    lines = [f"The circuit has {counted(n_edges, 'edge')} of {run.graph.n_edges:,}.{dropped}"]
    row = run.measured_at(line, size)
    if row is None:
        lines.append("Its faithfulness was not measured; the vertical line in the curve is its place.")
    else:
        value, low, high = (float(row.get(f"faithfulness{end}", np.nan)) for end in ("", "_low", "_high"))
        lines.append(f"Its faithfulness is {number(value)}{bounds(low, high)} (95 % interval).")
        if int(row["edges_kept"]) != n_edges:
            lines.append(
                f"The run's own circuit of this size has {int(row['edges_kept'])} edges, so it is another one."
            )
    if not run.is_nested:
        lines.append("The run's search gives one circuit, so there is no other size to draw.")
    elif size == run.kept_size and line == run.lines[0]:
        lines.append("This is the circuit that the run has kept.")
    return [html.P(text) for text in lines]


def _graph(run: CircuitRun, line: Line, size: int) -> Any:
    drawn = run.drawn(line, size)
    return graph_figure(drawn, f"Circuit of {counted(drawn.n_edges, 'edge')} by {line[0]}")


def _table(run: CircuitRun, line: Line, size: int) -> Component:
    rows = run.table(line, size)
    if rows.empty:
        return message("No edges", "The best edges of this size connect nothing from the input to the logits.")
    columns = [column for column in _COLUMNS if column["field"] in rows and rows[column["field"]].nunique() > 0]
    columns = [column for column in columns if column["field"] != "position" or rows["position"].nunique() > 1]
    return grid("circuit-table", rows.to_dict("records"), columns)


def _read(index: Index, entry: Entry) -> CircuitRun:
    return CircuitRun.read(index.runs, entry.folder, index.details([entry.folder]).get(entry.folder, {}))


def _list(index: Index) -> Component:
    entries = [entry for entry in index.entries() if entry.intervention == "circuit" and entry.status == "done"]
    if not entries:
        return message("No circuits yet", "Find one with: ioi-lab sweep model=tiny-gpt2 intervention=circuit")
    rows = [
        html.Tr(
            [
                html.Td(dcc.Link(entry.title, href=CircuitView(entry.folder).address)),
                html.Td(entry.folder),
                html.Td(f"faithfulness {with_interval(entry.value, entry.low, entry.high)}"),
            ]
        )
        for entry in entries
    ]
    return html.Div([html.H2("Circuits"), note("Runs of intervention=circuit, the newest first."), html.Table(rows)])


def connect(app: Dash, index: Index) -> None:
    """Answer the page's controls."""

    @app.callback(
        Output("circuit-curve", "figure"),
        Output("circuit-graph", "figure"),
        Output("circuit-words", "children"),
        Output("circuit-edges", "children"),
        Output({"view": "circuit"}, "data"),
        Input("circuit-method", "value"),
        Input("circuit-size", "value"),
        State({"view": "circuit"}, "data"),
        prevent_initial_call=True,
    )
    def draw(method: str | None, place: int, shown: str) -> Any:
        view = view_at(*shown.partition("?")[::2])
        entry = index.get(view.folder) if isinstance(view, CircuitView) else None
        if entry is None or not isinstance(view, CircuitView):
            return [no_update] * 5
        try:
            run = _read(index, entry)
        except UnreadableError as error:
            return [no_update, no_update, str(error), [], no_update]
        line = run.line_of(method or "")
        if line is None:
            return [no_update] * 5
        size = run.sizes[min(max(int(place), 0), len(run.sizes) - 1)]
        view = replace(view, method=method or "", size=size)
        curve = curve_figure(run, size, "Faithfulness by size")
        return [curve, _graph(run, line, size), words_of(run, line, size), _table(run, line, size), view.address]
