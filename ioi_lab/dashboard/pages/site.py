"""What a head or a layer did in all runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dash import Dash, Input, Output, dcc, html
from dash.development.base_component import Component

from ioi_lab.dashboard.figures import number
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.parts import choice, control, graph, grid, message, note, number_column, view_store
from ioi_lab.dashboard.results import FIRST
from ioi_lab.dashboard.site_figures import MAX_PANELS, MAX_POINTS, site_figure
from ioi_lab.dashboard.sites import MAX_ROWS, SiteRow, parse_site, rows_at
from ioi_lab.dashboard.views import SiteView
from ioi_lab.reports.wording import counted

_COLUMNS: Final[tuple[dict[str, Any], ...]] = (
    {"field": "run", "headerName": "Run", "flex": 3, "minWidth": 220, "cellRenderer": "PageLink"}
    | {"cellRendererParams": {"base": "/run/"}},
    {"field": "intervention", "headerName": "Intervention", "flex": 1, "minWidth": 120},
    {"field": "model", "headerName": "Model", "flex": 1},
    {"field": "task", "headerName": "Task", "flex": 1},
    {"field": "site", "headerName": "Site", "flex": 2, "minWidth": 130, "tooltipField": "site"},
    {"field": "metric", "headerName": "Metric", "flex": 1, "minWidth": 120},
    number_column("value", "Value"),
    {"field": "interval", "headerName": "95 % interval", "flex": 1, "minWidth": 130, "type": "rightAligned"},
    {"field": "verdict", "headerName": "Beyond chance", "flex": 1, "minWidth": 130},
    number_column("rank", "Rank", digits=0, width=85),
    number_column("of", "of", digits=0, width=75),
    {"field": "remark", "headerName": "Remark", "flex": 1},
)


def layout(index: Index, view: SiteView) -> Component:
    """Return the page."""
    models = sorted({entry.model for entry in index.entries() if entry.model})
    controls = [
        control("Head or layer", dcc.Input(view.site, id="site-name", type="text", debounce=True, placeholder="9.9")),
        control("Model", choice("site-model", models, view.model, clearable=True)),
        control(
            "Metric", choice("site-metric", FIRST, view.metric, clearable=True), "empty: the first one of each run"
        ),
    ]
    return html.Div(
        [
            view_store(view),
            html.H2("A site in all runs"),
            note(
                "A head is written as 9.9 (layer 9, head 9), a layer as 9. Heads of different models do not correspond."
            ),
            html.Div(controls, className="controls"),
            html.Div(content(index, view), id="site-content"),
        ]
    )


def content(index: Index, view: SiteView) -> list[Component]:
    """Return what the site of a view did."""
    if not view.site.strip():
        return [message("Which site?", "Type a head such as 9.9, or a layer such as 9.")]
    site = parse_site(view.site)
    if site is None:
        return [message("No such site", f"{view.site!r} is neither a head such as 9.9 nor a layer such as 9.")]
    rows, unread = rows_at(index, site, view.model, view.metric)
    what = f"layer {site[0]}" if site[1] is None else f"head {site[0]}.{site[1]}"
    words = [note(f"The newest runs are read; {unread:,} older ones are not.")] if unread else []
    if len(rows) == MAX_ROWS:
        words.append(note(f"Only the first {MAX_ROWS:,} rows are shown."))
    if not rows:
        return [*words, message("Nothing found", f"No finished run has results of {what}.")]
    n_runs = len({row.entry.folder for row in rows})
    title = f"{what} in {counted(n_runs, 'run')}"
    if len({row.entry.model for row in rows}) > 1:
        words.append(note("The runs are of several models, whose heads do not correspond; choose one above."))
    words.append(
        note(
            f"Up to {MAX_PANELS} metrics are drawn, of each the {MAX_POINTS} newest rows. Rank: among all rows of "
            "the run, by the distance from no effect (from 0, if the metric is no effect)."
        )
    )
    figure = html.Div(graph("site-figure", site_figure(rows, title)), className="panel")
    return [*words, figure, grid("site-table", table_of(rows), columns_of(rows))]


def table_of(rows: Sequence[SiteRow]) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    return [
        {
            "run": row.entry.folder,
            "intervention": row.entry.intervention,
            "model": row.entry.model,
            "task": row.entry.task,
            "site": row.name,
            "metric": row.metric,
            "value": row.value,
            "interval": "" if row.low is None or row.high is None else f"[{number(row.low)}, {number(row.high)}]",
            "verdict": row.verdict,
            "rank": row.rank,
            "of": row.n_rows,
            "remark": row.remark,
        }
        for row in rows
    ]


def columns_of(rows: Sequence[SiteRow]) -> list[dict[str, Any]]:
    """Return the columns of the table; the remark only if some run has one."""
    return [column for column in _COLUMNS if column["field"] != "remark" or any(row.remark for row in rows)]


def connect(app: Dash, index: Index) -> None:
    """Answer the page's controls."""

    @app.callback(
        Output("site-content", "children"),
        Output({"view": "site"}, "data"),
        Input("site-name", "value"),
        Input("site-model", "value"),
        Input("site-metric", "value"),
        prevent_initial_call=True,
    )
    def draw(site: str | None, model: str | None, metric: str | None) -> Any:
        view = SiteView(site or "", model or "", metric or "")
        return content(index, view), view.address
