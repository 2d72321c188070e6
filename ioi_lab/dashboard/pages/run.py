"""A run: its report, an interactive map of its results with the prompts of each site, its figures and its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from dash import ALL, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from plotly.graph_objects import Figure

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.maps import map_figure
from ioi_lab.dashboard.parts import (
    age,
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
    with_interval,
)
from ioi_lab.dashboard.places import name_in
from ioi_lab.dashboard.prompts import prompts_of
from ioi_lab.dashboard.results import Results, UnreadableError
from ioi_lab.dashboard.views import CircuitView, RunView, SiteView, view_at
from ioi_lab.runs.reading import CONFIG, PAGE, PLOTS, SUMMARY

_TABS: Final = {"report": "Report", "map": "Map", "figures": "Figures", "config": "Config and metrics"}
_MAX_TEXT: Final = 100_000


def layout(index: Index, view: RunView) -> Component:
    """Return the page."""
    entry = index.get(view.folder)
    if entry is None:
        return message("There is no such run", f"{view.folder!r} is not a run in {index.runs.path}.")
    has_report = index.runs.sent_file(name_in(entry.folder, PAGE)) is not None
    tab = view.tab if view.tab in _TABS else "report" if has_report else "map"
    row = index.details([entry.folder]).get(entry.folder, {})
    content = {"report": _report, "map": _map, "figures": _figures, "config": _config}[tab]
    links = [
        dcc.Link(name, href=replace(view, tab=key).address, className="here" if key == tab else "")
        for key, name in _TABS.items()
    ]
    return html.Div([_head(index, entry, row), html.Div(links, className="tabs"), content(index, entry, row, view)])


def _head(index: Index, entry: Entry, row: Mapping[str, Any]) -> Component:
    facts: dict[str, Any] = {"folder": entry.folder}
    if entry.sweep:
        facts["job of"] = sweep_link(entry.sweep)
    study = index.get(entry.folder.rpartition("/")[0]) if "/" in entry.folder else None
    if study is not None:
        facts["step of"] = run_link(study)
    if entry.value is not None:
        facts[entry.headline] = with_interval(entry.value, entry.low, entry.high)
    n_prompts = row.get("n_prompts")
    facts["prompts"] = "" if n_prompts is None else f"{n_prompts:g}"
    facts["time"] = "" if entry.seconds is None else f"{entry.seconds:.1f} s"
    facts["age"] = age(entry.updated)
    typed = [f"{key.removeprefix('typed.')}={value}" for key, value in row.items() if key.startswith("typed.")]
    facts["typed"] = " ".join(typed)
    if index.runs.file(name_in(entry.folder, "circuit.json")) is not None:
        facts["circuit"] = dcc.Link("draw it at every size", href=CircuitView(entry.folder).address)
    facts["steps"] = _steps(index, entry)
    pairs = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts.items() if value]
    error = [html.Div(entry.error, className="error")] if entry.error else []
    return html.Div(
        [html.H2([entry.title, " ", badge(entry.status)]), html.Dl(pairs, className="facts inline"), *error]
    )


def _steps(index: Index, study: Entry) -> list[Component]:
    """Return links to the steps of a study, in their order; none for other runs."""
    if study.intervention != "study":
        return []
    start = "" if study.folder == "." else f"{study.folder}/"
    steps = [entry for entry in index.entries() if entry.folder.startswith(start) and entry is not study]
    return [
        html.Span(
            [dcc.Link(step.folder.removeprefix(start), href=RunView(step.folder).address), " ", badge(step.status), " "]
        )
        for step in sorted(steps, key=lambda step: step.folder)
    ]


def _report(index: Index, entry: Entry, row: Mapping[str, Any], view: RunView) -> Component:
    if index.runs.sent_file(name_in(entry.folder, PAGE)) is not None:
        address = file_address(entry.folder, PAGE)
        frame = html.Iframe(src=address, sandbox="allow-scripts allow-modals", className="report", title="report")
        return html.Div([frame, html.A("open the report by itself", href=address, target="_blank")])
    summary = _text_of(index, entry.folder, SUMMARY)
    if summary is None:
        return message("No report", "This run has neither a report nor a summary; a run writes them when it is done.")
    return html.Div([note("This run has no report.html; this is its summary."), html.Pre(summary)])


def _figures(index: Index, entry: Entry, row: Mapping[str, Any], view: RunView) -> Component:
    folder = index.runs.file(name_in(entry.folder, PLOTS))
    names = sorted(path.name for path in folder.iterdir()) if folder is not None and folder.is_dir() else []
    images = [name for name in names if index.runs.sent_file(name_in(entry.folder, f"{PLOTS}/{name}")) is not None]
    images = [name for name in images if name.endswith(".png")]
    pages = [name for name in ("attention.html",) if index.runs.sent_file(name_in(entry.folder, name)) is not None]
    if not images and not pages:
        return message("No figures", "The run was made with figures=false, or has not written them.")
    links = [html.P(html.A(name, href=file_address(entry.folder, name), target="_blank")) for name in pages]
    figures = []
    for name in images:
        address = file_address(entry.folder, f"{PLOTS}/{name}")
        image = html.A(html.Img(src=address, alt=name), href=address, target="_blank")
        figures.append(html.Figure([image, html.Figcaption(name)]))
    return html.Div([*links, html.Div(figures, className="figures")])


def _config(index: Index, entry: Entry, row: Mapping[str, Any], view: RunView) -> Component:
    config = _text_of(index, entry.folder, CONFIG) or "This run has no config.yaml."
    metrics = _text_of(index, entry.folder, "metrics.json") or "This run has no metrics.json."
    halves = [html.Div([html.H3(name), html.Pre(text)]) for name, text in ((CONFIG, config), ("metrics.json", metrics))]
    return html.Div(halves, className="columns")


def _text_of(index: Index, folder: str, name: str) -> str | None:
    path = index.runs.file(name_in(folder, name))
    if path is None or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MAX_TEXT)


def _map(index: Index, entry: Entry, row: Mapping[str, Any], view: RunView) -> Component:
    try:
        results = Results.read(index.runs, entry.folder, row)
    except UnreadableError as error:
        later = " It is running: its results are written when it is done." if entry.status == "running" else ""
        return message("No map", f"{str(error)[:1].upper()}{str(error)[1:]}.{later}")
    if not results.metrics or results.table.empty:
        return message("No map", "results.csv has no columns of numbers.")
    metric = view.metric if view.metric in results.metrics else results.metrics[0]
    cut = results.cut_of(view.cut)
    controls = [control("Metric", choice("run-metric", results.metrics, metric))]
    controls += [
        control(name, choice({"cut": name, "of": "run"}, results.cuts[name], value)) for name, value in cut.items()
    ]
    figure = run_map(results, replace(view, metric=metric), entry, row)
    hint = "Hover over a cell for its value and interval; click on it for its prompts."
    left = html.Div([html.Div(controls, className="controls"), graph("run-map", figure), note(hint)], className="panel")
    shown, table = _site(index, entry, results, view.row)
    right = html.Div(shown, id="run-prompts", className="panel")
    halves = html.Div([left, right], className="halves")
    return html.Div([view_store(view), dcc.Store(id="run-row", data=view.row), halves, html.Div(table, id="run-table")])


def _site(index: Index, entry: Entry, results: Results, row: int | None) -> tuple[list[Component], list[Component]]:
    """Return what is shown of a row: figure and table of its prompts, and a link to the same site in all runs."""
    shown, table = prompts_of(index.runs, entry.folder, results, row)
    site = "" if row is None else results.site_of(row)
    if not site:
        return shown, table
    link = dcc.Link(
        f"{'head' if '.' in site else 'layer'} {site} in all runs", href=SiteView(site, entry.model).address
    )
    return [*shown, link], table


def run_map(results: Results, view: RunView, entry: Entry, row: Mapping[str, Any]) -> Figure:
    """Return the map of a view."""
    cut = results.cut_of(view.cut)
    grid = results.grid(view.metric, cut)
    where = ", ".join(f"{name} {value}" for name, value in cut.items())
    n_prompts = row.get("n_prompts")
    return map_figure(
        grid, f"{entry.title}{': ' * bool(where)}{where}", int(n_prompts) if n_prompts else None, view.row
    )


def view_of(
    shown: str, metric: str | None, cuts: Sequence[str | None], names: Sequence[Mapping[str, str]], row: int | None
) -> RunView:
    """Return the view that the controls show; `shown`: the address so far."""
    before = view_at(*shown.partition("?")[::2])
    assert isinstance(before, RunView), shown
    texts = tuple(f"{name['cut']}={value}" for name, value in zip(names, cuts, strict=True) if value is not None)
    return replace(before, metric=metric or "", cut=texts, row=row)


def clicked_row(click: Mapping[str, Any] | None) -> int | None:
    """Return the row of the results of a cell that was clicked on."""
    points = (click or {}).get("points") or [{}]
    row = points[0].get("customdata")
    row = row[0] if isinstance(row, list) and row else row
    return row if isinstance(row, int) and row >= 0 else None


def connect(app: Dash, index: Index) -> None:
    """Answer the page's controls."""

    @app.callback(
        Output("run-map", "figure"),
        Output("run-prompts", "children"),
        Output("run-table", "children"),
        Output("run-row", "data"),
        Output({"view": "run"}, "data"),
        Input("run-metric", "value"),
        Input({"cut": ALL, "of": "run"}, "value"),
        Input("run-map", "clickData"),
        State({"cut": ALL, "of": "run"}, "id"),
        State("run-row", "data"),
        State({"view": "run"}, "data"),
        prevent_initial_call=True,
    )
    def draw(
        metric: str | None,
        cuts: list[str | None],
        click: dict[str, Any] | None,
        names: list[dict[str, str]],
        row: int | None,
        shown: str,
    ) -> Any:
        chosen = clicked_row(click)
        row = row if chosen is None else chosen
        view = view_of(shown, metric, cuts, names, row)
        entry = index.get(view.folder)
        if entry is None:
            return [no_update] * 5
        details = index.details([entry.folder]).get(entry.folder, {})
        try:
            results = Results.read(index.runs, entry.folder, details)
            figure = run_map(results, view, entry, details)
        except UnreadableError as error:
            return [no_update, message("No map", str(error)), [], no_update, no_update]
        return [figure, *_site(index, entry, results, row), row, view.address]
