"""The table of all runs, live while jobs run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import dash_ag_grid as dag
from dash import Dash, Input, Output, Patch, State, dcc, html, no_update
from dash.development.base_component import Component

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.index import Changes, Index
from ioi_lab.dashboard.parts import control, number_column, view_store
from ioi_lab.dashboard.views import CompareView, RunsView
from ioi_lab.reports.wording import counted

MAX_COMPARED: Final = 8

_LINK: Final[dict[str, Any]] = {"cellRenderer": "PageLink"}
COLUMNS: Final[tuple[dict[str, Any], ...]] = (
    {"field": "folder", "headerName": "Run", "flex": 5, "minWidth": 250, "cellRendererParams": {"base": "/run/"}}
    | _LINK,
    {"field": "sweep", "headerName": "Sweep", "width": 75, "minWidth": 70, "filter": False}
    | {"cellRendererParams": {"base": "/sweep/", "text": "sweep"}}
    | _LINK,
    {"field": "status", "headerName": "Status", "cellRenderer": "Badge", "width": 105},
    {"field": "model", "headerName": "Model", "flex": 2, "minWidth": 95, "tooltipField": "model"},
    {"field": "task", "headerName": "Task", "flex": 1, "minWidth": 70},
    {"field": "intervention", "headerName": "Intervention", "flex": 2, "minWidth": 105},
    {"field": "headline", "headerName": "Metric", "flex": 2, "minWidth": 120, "tooltipField": "headline"},
    number_column("value", "Value [95 % interval]", width=200, filter=False)
    | {"valueFormatter": {"function": "interval(params.data)"}},
    number_column("updated", "Age", width=85, minWidth=75, sortingOrder=["desc", "asc", None], filter=False)
    | {"valueFormatter": {"function": "age(params.value)"}, "tooltipValueGetter": {"function": "when(params.data)"}},
    number_column("seconds", "Seconds", digits=1, width=90, filter=False),
    {"field": "error", "headerName": "Error", "flex": 2, "minWidth": 90, "tooltipField": "error"},
)


def layout(index: Index, view: RunsView) -> Component:
    """Return the page."""
    version, entries = index.version, index.entries()
    return html.Div(
        [
            view_store(view),
            dcc.Store(id="runs-version", data=version),
            html.Div(
                [
                    control("Search", dcc.Input(view.search, id="runs-search", type="search", debounce=0.3)),
                    html.Div(status_line(entries, index), id="runs-line", className="line"),
                    html.Div(_compare_button([]), id="runs-compare"),
                ],
                className="controls",
            ),
            dag.AgGrid(
                id="runs-table",
                rowData=[entry.as_row() for entry in entries],
                columnDefs=_sorted_columns(view.sort),
                getRowId="params.data.folder",
                filterModel=_filters(view.filters),
                defaultColDef={"sortable": True, "resizable": True, "filter": True, "floatingFilter": True},
                dashGridOptions={
                    "rowSelection": {"mode": "multiRow", "headerCheckbox": False, "enableClickSelection": False},
                    "quickFilterText": view.search,
                    "enableCellTextSelection": True,
                    "animateRows": False,
                    "tooltipShowDelay": 300,
                    "localeText": {"noRowsToShow": "There is no run here."},
                },
                className="ag-theme-quartz compact",
                style={"height": "calc(100vh - 9.2rem)", "minHeight": "20rem"},
            ),
        ]
    )


def status_line(entries: Sequence[Entry], index: Index) -> list[Component | str]:
    """Return how many runs there are, by status."""
    counts = Counter(entry.status for entry in entries)
    parts: list[Component | str] = [f"{len(entries):,} run{'s' * (len(entries) != 1)}"]
    for status in ("running", "done", "failed", "stopped", "damaged"):
        if counts[status]:
            parts.append(html.Span(f"{counts[status]:,} {status}", className=f"badge {status}"))
    if index.waiting:
        parts.append(f"reading {index.waiting:,} more …")
    if index.left_out:
        parts.append(f"{counted(index.left_out, 'folder')} not shown: behind links that lead out, or with odd names")
    return parts


def view_of(search: str | None, filters: dict[str, Any] | None, columns: Sequence[dict[str, Any]] | None) -> RunsView:
    """Return the view that the controls show."""
    chosen = sorted((each for each in columns or [] if each.get("sort")), key=lambda each: each.get("sortIndex") or 0)
    return RunsView(
        search=search or "",
        filters=json.dumps(filters, separators=(",", ":")) if filters else "",
        sort=",".join(f"{each['colId']}:{each['sort']}" for each in chosen),
    )


def _filters(text: str) -> dict[str, Any]:
    """Return the filters in an address; none for what are no filters."""
    try:
        filters = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    fields = {column["field"] for column in COLUMNS}
    known = (
        isinstance(filters, dict) and filters.keys() <= fields and all(isinstance(f, dict) for f in filters.values())
    )
    return filters if known else {}


def _sorted_columns(sort: str) -> list[dict[str, Any]]:
    """Return the columns with the order of an address."""
    chosen = [part.partition(":")[::2] for part in sort.split(",") if part]
    orders = {name: (order, place) for place, (name, order) in enumerate(chosen) if order in ("asc", "desc")}
    columns = []
    for column in COLUMNS:
        order, place = orders.get(column["field"], (None, None))
        columns.append(column | ({"sort": order, "sortIndex": place} if order else {}))
    return columns


def _compare_button(selected: Sequence[dict[str, Any]]) -> Component:
    folders = tuple(row["folder"] for row in selected)
    if 2 <= len(folders) <= MAX_COMPARED:
        return dcc.Link(f"Compare {len(folders)} runs", href=CompareView(folders).address, className="button")
    hint = "tick 2 to 8 runs to compare them" if len(folders) < 2 else f"{len(folders)} ticked; 8 runs at most"
    return html.Span(hint, className="hint")


def connect(app: Dash, index: Index) -> None:
    """Answer the page's controls."""

    @app.callback(
        Output({"view": "runs"}, "data"),
        Input("runs-search", "value"),
        Input("runs-table", "filterModel"),
        Input("runs-table", "columnState"),
        State({"view": "runs"}, "data"),
        prevent_initial_call=True,
    )
    def write_view(search: str, filters: dict[str, Any], columns: list[dict[str, Any]] | None, shown: str) -> Any:
        view = view_of(search, filters, columns)
        if columns is None:  # the table is not there yet
            view = replace(view, sort=RunsView.of("", shown.partition("?")[2]).sort)
        return view.address

    @app.callback(Output("runs-table", "dashGridOptions"), Input("runs-search", "value"), prevent_initial_call=True)
    def search(text: str | None) -> Patch:
        options = Patch()
        options["quickFilterText"] = text or ""
        return options

    @app.callback(Output("runs-compare", "children"), Input("runs-table", "selectedRows"), prevent_initial_call=True)
    def offer(selected: list[dict[str, Any]] | None) -> Component:
        return _compare_button(selected or [])

    @app.callback(
        Output("runs-table", "rowTransaction"),
        Output("runs-version", "data"),
        Output("runs-line", "children"),
        Input("clock", "n_intervals"),
        State("runs-version", "data"),
        prevent_initial_call=True,
    )
    def refresh(_: int, version: int) -> Any:
        line = status_line(index.entries(), index)
        changes = index.changes(version)
        if changes.version == version:
            return no_update, no_update, line
        return transaction(changes), changes.version, line


def transaction(changes: Changes) -> dict[str, Any]:
    """Return what has changed as AG Grid wants it."""
    return {
        "add": [entry.as_row() for entry in changes.added],
        "update": [entry.as_row() for entry in changes.updated],
        "remove": [{"folder": folder} for folder in changes.removed],
        "async": False,
    }
