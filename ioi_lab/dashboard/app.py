"""The pages as one application: the address chooses the page, and the page's controls write the address."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from dash import ALL, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ioi_lab.dashboard.index import Index, Refresher
from ioi_lab.dashboard.parts import message, note
from ioi_lab.dashboard.server import guarded_server
from ioi_lab.dashboard.views import VIEWS, CircuitView, CompareView, RunsView, SiteView, SweepView, View, view_at

_LINKS: Final[tuple[tuple[str, View], ...]] = (
    ("Runs", RunsView()),
    ("Compare", CompareView()),
    ("Sweeps", SweepView()),
    ("Circuits", CircuitView()),
    ("Sites", SiteView()),
)
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title><link rel="icon" href="data:,">{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""

_WRITE_ADDRESS: Final = """function (shown) {
    if (!shown.length || shown[0] === location.pathname + location.search) return;
    history.replaceState(history.state, "", shown[0]);
    dash_clientside.set_props("address", {
        pathname: location.pathname, search: location.search, href: location.href});
}"""


def make_app(index: Index, refresher: Refresher) -> Dash:
    """Return the application for the runs of an index."""
    app = Dash(
        "ioi_lab.dashboard",
        server=guarded_server(index.runs),
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        suppress_callback_exceptions=True,
        title="IOI lab",
        update_title="",
        index_string=_PAGE,
    )
    app.layout = _frame(index)
    _connect(app, index, refresher)
    for view in VIEWS:
        _page_of(view).connect(app, index)
    return app


def layout_at(index: Index, pathname: str, query: str) -> Component:
    """Return the page at an address."""
    view = view_at(pathname, query)
    if view is None:
        return message("There is no such page", "The pages are those in the bar at the top.")
    page: Component = _page_of(type(view)).layout(index, view)
    if index.waiting and not isinstance(view, RunsView):
        return html.Div([note(f"{index.waiting:,} runs are still to be read; load this page again to see them."), page])
    return page


def _page_of(view: type[View]) -> Any:
    return import_module(f"ioi_lab.dashboard.pages.{view.page()}")


def _frame(index: Index) -> Component:
    links = [dcc.Link(name, href=view.address, id={"nav": view.page()}) for name, view in _LINKS]
    folder = html.Span(str(index.runs.path), className="folder", title=index.runs.real)
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Interval(id="clock", interval=2000),
            html.Header([html.B("IOI lab"), html.Nav(links), folder]),
            html.Main(id="page"),
        ]
    )


def _connect(app: Dash, index: Index, refresher: Refresher) -> None:
    @app.callback(
        Output("page", "children"),
        Output({"nav": ALL}, "className"),
        Input("address", "pathname"),
        Input("address", "search"),
        State({"view": ALL}, "data"),
        State({"nav": ALL}, "id"),
    )
    def show(pathname: str | None, query: str | None, shown: list[str], links: list[dict[str, str]]) -> tuple[Any, Any]:
        refresher.ask()
        if f"{pathname}{query or ''}" in shown:  # the controls of the page have written it
            return no_update, [no_update] * len(links)
        view = view_at(pathname or "/", query or "")
        own = "" if view is None else view.page()
        page = layout_at(index, pathname or "/", query or "")
        page = html.Div(page, key=f"{pathname}{query or ''}")  # tables and graphs are made anew, not changed
        return page, ["here" if link["nav"] == own else "" for link in links]

    app.clientside_callback(
        _WRITE_ADDRESS, Input({"view": ALL}, "data"), prevent_initial_call=True
    )  # without the server: no step in the history, no jump to the top of the page

    @app.callback(Input("clock", "n_intervals"))
    def stay_awake(_: int) -> None:
        refresher.ask()
