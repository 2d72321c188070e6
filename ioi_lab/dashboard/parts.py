"""Components that several pages share. Texts of runs are children, never HTML or Markdown."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import dash_ag_grid as dag
from dash import dcc, html
from dash.development.base_component import Component
from plotly.graph_objects import Figure

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.places import name_in
from ioi_lab.dashboard.server import FILES
from ioi_lab.dashboard.views import RunView, SweepView, View

GRAPH_CONFIG: Final[dict[str, Any]] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg"},
    "showEditInChartStudio": False,
    "plotlyServerURL": "",
    "topojsonURL": "",
}
"""Graphs can be saved as vector files, and are sent to nobody."""


def view_store(view: View) -> Component:
    """Return the component whose data is the address of what the page shows."""
    return dcc.Store(id={"view": view.page()}, data=view.address)


def message(title: str, text: str = "") -> Component:
    """Return the words for a page, or a part of one, that has nothing to show."""
    return html.Div([html.H3(title), html.P(text)], className="message")


def note(text: str) -> Component:
    """Return a sentence in small letters."""
    return html.P(text, className="note")


def control(label: str, component: Component, hint: str = "") -> Component:
    """Return a control with its label."""
    return html.Label([html.Span(label), component], className="control", title=hint)


def choice(
    ident: str | dict[str, str], values: Iterable[str] | Mapping[str, str], chosen: str, *, clearable: bool = False
) -> Component:
    """Return a list of which one value is chosen; a mapping gives values with their labels."""
    named = values if isinstance(values, Mapping) else {value: value for value in values}
    options = [{"value": value, "label": label} for value, label in named.items()]
    return dcc.Dropdown(
        options, chosen or None, id=ident, clearable=clearable, searchable=len(options) > 8, className="choice"
    )


def graph(ident: str | dict[str, str], figure: Figure | None = None) -> Component:
    """Return a graph of plotly."""
    given = {} if figure is None else {"figure": figure}
    return dcc.Graph(id=ident, config=GRAPH_CONFIG, **given)


def badge(status: str) -> Component:
    """Return the status of a run in its colour."""
    return html.Span(status, className=f"badge {status}")


def run_link(entry: Entry) -> Component:
    """Return a link to the page of a run."""
    return dcc.Link(entry.folder, href=RunView(entry.folder).address)


def sweep_link(folder: str) -> Component:
    """Return a link to the page of a sweep."""
    return dcc.Link(folder, href=SweepView(folder).address)


def file_address(folder: str, name: str) -> str:
    """Return the address of a file of a run."""
    return FILES + quote(name_in(folder, name))


def grid(
    ident: str | dict[str, str], rows: Sequence[Mapping[Any, Any]], columns: Sequence[dict[str, Any]]
) -> Component:
    """Return a table that can be sorted, and grows with its rows up to a height."""
    many = len(rows) > 12
    return dag.AgGrid(
        id=ident,
        rowData=list(rows),
        columnDefs=list(columns),
        defaultColDef={"sortable": True, "resizable": True, "filter": True, "minWidth": 90},
        dashGridOptions={
            "domLayout": "normal" if many else "autoHeight",
            "enableCellTextSelection": True,
            "ensureDomOrder": True,
            "animateRows": False,
            "suppressFieldDotNotation": True,
            "tooltipShowDelay": 300,
        },
        columnSize="responsiveSizeToFit",
        className="ag-theme-quartz compact",
        style={"height": "26rem"} if many else {"height": None},
    )


def number_column(field: str, name: str, *, digits: int = 3, **more: Any) -> dict[str, Any]:
    """Return a column of numbers that are shown with some decimals."""
    return {
        "field": field,
        "headerName": name,
        "type": "rightAligned",
        "filter": "agNumberColumnFilter",
        "valueFormatter": {"function": f"decimals(params.value, {digits})"},
    } | more


def age(updated: float | None, now: float | None = None) -> str:
    """Return how long ago something was: `3 min`."""
    if updated is None:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - updated)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def with_interval(value: float | None, low: float | None, high: float | None, form: str = ".3f") -> str:
    """Return a number with its interval: `0.934 [0.893, 0.987]`."""
    if value is None:
        return ""
    bounds = "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{bounds}".replace("-", "−")
