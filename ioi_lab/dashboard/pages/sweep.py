"""The runs of a folder by the keys in which they differ, on axes that the reader chooses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Final

from dash import Dash, Input, Output, State, html, no_update
from dash.development.base_component import Component
from plotly.graph_objects import Figure

from ioi_lab.dashboard.figures import number
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.parts import (
    badge,
    choice,
    control,
    file_address,
    graph,
    message,
    note,
    run_link,
    sweep_link,
    view_store,
)
from ioi_lab.dashboard.places import name_in
from ioi_lab.dashboard.sweep_data import NONE, Choice, SweepData, sweeps_of
from ioi_lab.dashboard.sweep_figures import MAX_FACETS, MAX_LINES, line_figure, map_figure, parallel_figure
from ioi_lab.dashboard.views import SweepView, view_at
from ioi_lab.runs.reading import PAGE

KINDS: Final = {"line": "lines", "map": "map", "parallel": "parallel coordinates"}
_FIGURES: Final = {"line": line_figure, "map": map_figure, "parallel": parallel_figure}
_MAX_LISTED: Final = 200


def layout(index: Index, view: SweepView) -> Component:
    """Return the page: the runs of a folder, or the list of sweeps."""
    if not view.folder and "." in sweeps_of(index.entries()):  # the runs folder is that of one sweep
        view = replace(view, folder=".")
    if not view.folder:
        return _list(index)
    data = SweepData.read(index, view.folder)
    if not data.entries:
        return message("There are no such runs", f"There is no run in {view.folder!r}.")
    title = index.runs.path.name if view.folder == "." else view.folder
    head = [html.H2(title), _states(data), *_report(index, view.folder)]
    if len(data.rows) < 2:
        return html.Div(
            [*head, message("Too few runs", "Fewer than two runs are done, so there is nothing to draw yet.")]
        )
    if not data.keys or not data.metrics:
        why = "All runs have the same config." if data.metrics else "The runs have no metrics."
        return html.Div([*head, message("Nothing to draw", why)])
    chosen = data.choice(view.x, view.line, view.facet, view.metric)
    kind = view.kind if view.kind in KINDS else "line"
    keys = {key: key for key in data.keys}
    optional = {NONE: "none"} | keys
    controls = [
        control("Figure", choice("sweep-kind", KINDS, kind)),
        control("Metric of a run", choice("sweep-metric", data.metrics, chosen.metric)),
        control("x", choice("sweep-x", keys, chosen.x)),
        control("Line (rows of a map)", choice("sweep-line", optional, chosen.line)),
        control("Panels", choice("sweep-facet", optional, chosen.facet)),
    ]
    figure = graph("sweep-figure", figure_of(data, kind, chosen))
    words = html.Div(words_of(data, kind, chosen), id="sweep-words")
    return html.Div(
        [
            view_store(view),
            *head,
            html.Div([html.Div(controls, className="controls"), figure, words], className="panel"),
            html.Div(note("Click on a point for its runs."), id="sweep-runs"),
        ]
    )


def _report(index: Index, folder: str) -> list[Component]:
    """Return a link to the report of a sweep, if it has one."""
    if index.runs.sent_file(name_in(folder.rstrip("/"), PAGE)) is None:
        return []
    return [html.P(html.A("the report of the sweep", href=file_address(folder.rstrip("/"), PAGE), target="_blank"))]


def figure_of(data: SweepData, kind: str, chosen: Choice) -> Figure:
    """Return the figure of a kind."""
    return _FIGURES[kind](data, chosen)


def words_of(data: SweepData, kind: str, chosen: Choice) -> list[Component]:
    """Return what points and bands are, and what is left out, in sentences."""
    lines = []
    if kind != "parallel":
        pooled = data.pooled(chosen)
        if pooled:
            lines.append(
                f"Points are means over runs that differ in {', '.join(pooled)}; "
                "bands go from the lowest to the highest run."
            )
        else:
            lines.append(_what_is_drawn(data, kind, chosen))
        n_lines = len(data.levels(chosen.line)) if kind == "line" else 0
        if len(data.levels(chosen.facet)) > MAX_FACETS or n_lines > MAX_LINES:
            lines.append(f"Only the first {MAX_LINES} lines and {MAX_FACETS} panels are drawn.")
    if chosen.metric.startswith("best_"):
        lines.append(
            f"{chosen.metric} is that of the best site of each run, which may be another site from run to run, "
            "and is the largest of many."
        )
    if (white := data.unedited(chosen.metric)) is not None:
        lines.append(f"Dotted or a grey bar, or white in a map: {white.run}, {number(white.value)} on average.")
    return [note(line) for line in lines]


def _what_is_drawn(data: SweepData, kind: str, chosen: Choice) -> str:
    if kind == "map":
        return "Each cell is one run."
    if any(point.low < point.high for point in data.points(chosen)):
        return "Bands and bars are the runs' own 95 % intervals."
    return "Each point is one run; this metric has no intervals."


def _states(data: SweepData) -> Component:
    counts = Counter(entry.status for entry in data.entries)
    parts: list[Any] = [f"{len(data.entries):,} run{'s' * (len(data.entries) != 1)}"]
    for status, count in counts.items():
        parts += [" ", badge(status), f" {count:,}"]
    failed = [entry for entry in data.entries if entry.status in ("failed", "damaged")][:5]
    errors = [html.Div([run_link(entry), f": {entry.error}"], className="note") for entry in failed]
    return html.Div([html.Div(parts, className="line"), *errors])


def _list(index: Index) -> Component:
    sweeps = sweeps_of(index.entries())
    if not sweeps:
        return message(
            "No sweeps yet", "A sweep is made with -m: ioi-lab sweep -m model=tiny-gpt2 intervention.layer=0,1,2,3"
        )
    rows = []
    for folder, entries in list(sweeps.items())[:_MAX_LISTED]:
        counts = Counter(entry.status for entry in entries)
        models, what = ({getattr(entry, part) for entry in entries} - {""} for part in ("model", "intervention"))
        states = [part for status, count in counts.items() for part in (badge(status), f" {count} ")]
        rows.append(
            html.Tr([html.Td(sweep_link(folder)), html.Td(states), html.Td(_some(models)), html.Td(_some(what))])
        )
    head = html.Tr([html.Th(name) for name in ("Sweep", "Runs", "Models", "Interventions")])
    shown = (
        note(f"The newest {_MAX_LISTED} of {len(sweeps):,}.")
        if len(sweeps) > _MAX_LISTED
        else note("The newest first.")
    )
    return html.Div([html.H2("Sweeps"), shown, html.Table([html.Thead(head), html.Tbody(rows)])])


def _some(names: set[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _runs_of(index: Index, click: dict[str, Any] | None) -> list[Component]:
    points = (click or {}).get("points") or [{}]
    folders = points[0].get("customdata") or []
    folders = [folders] if isinstance(folders, str) else folders
    entries = [entry for folder in folders if isinstance(folder, str) and (entry := index.get(folder)) is not None]
    if not entries:
        return [note("Click on a point for its runs.")]
    return [html.Div([run_link(entry), f" {entry.title}"]) for entry in entries]


def connect(app: Dash, index: Index) -> None:
    """Answer the page's controls."""

    @app.callback(
        Output("sweep-figure", "figure"),
        Output("sweep-words", "children"),
        Output({"view": "sweep"}, "data"),
        Input("sweep-kind", "value"),
        Input("sweep-metric", "value"),
        Input("sweep-x", "value"),
        Input("sweep-line", "value"),
        Input("sweep-facet", "value"),
        State({"view": "sweep"}, "data"),
        prevent_initial_call=True,
    )
    def draw(kind: str, metric: str, x: str, line: str, facet: str, shown: str) -> Any:
        before = view_at(*shown.partition("?")[::2])
        if not isinstance(before, SweepView):
            return [no_update] * 3
        data = SweepData.read(index, before.folder)
        chosen = data.choice(x or "", line or NONE, facet or NONE, metric or "")
        view = replace(before, kind=kind, x=chosen.x, line=chosen.line, facet=chosen.facet, metric=chosen.metric)
        return figure_of(data, kind, chosen), words_of(data, kind, chosen), view.address

    @app.callback(Output("sweep-runs", "children"), Input("sweep-figure", "clickData"), prevent_initial_call=True)
    def list_runs(click: dict[str, Any] | None) -> list[Component]:
        return _runs_of(index, click)
