"""Two to eight runs next to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from dash import ALL, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from ioi_lab.dashboard.compare_figures import difference_map, maps_figure, scatter_figure
from ioi_lab.dashboard.comparison import MAX_RUNS, Comparison, Difference
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.parts import (
    badge,
    choice,
    control,
    graph,
    grid,
    message,
    note,
    run_link,
    view_store,
    with_interval,
)
from ioi_lab.dashboard.views import CompareView, view_at

_MAX_CHOICES: Final = 1000
"""The greatest number of runs in the list: the newest."""


def layout(index: Index, view: CompareView) -> Component:
    """Return the page."""
    newest = [entry for entry in index.entries() if entry.status == "done"][:_MAX_CHOICES]
    options = [{"value": entry.folder, "label": f"{entry.folder} ({entry.title})"} for entry in newest]
    options += [{"value": folder, "label": folder} for folder in view.run if folder not in {e.folder for e in newest}]
    chooser = dcc.Dropdown(
        options, list(view.run), multi=True, id="compare-runs", placeholder="choose 2 to 8 runs", optionHeight=30
    )
    return html.Div(
        [
            view_store(view),
            html.H2("Compare runs"),
            note("The first run is A; the others are compared with it. Runs can also be ticked in the table of runs."),
            html.Div(chooser, className="wide-choice"),
            html.Div(content(index, view), id="compare-content"),
        ]
    )


def content(index: Index, view: CompareView) -> list[Component]:
    """Return the comparison of the runs of a view."""
    unknown = [folder for folder in view.run if index.get(folder) is None]
    comparison = Comparison.read(index, view.run)
    words = [note(f"There is no run {', '.join(unknown)}.")] if unknown else []
    if len(view.run) > MAX_RUNS:
        words.append(note(f"Only the first {MAX_RUNS} runs are compared."))
    if len(comparison.runs) < 2:
        return [*words, message("Choose at least two runs", "Tick them in the table of runs, or choose them above.")]
    metric = view.metric if view.metric in comparison.metrics else next(iter(comparison.metrics), "")
    parts = [*words, _heads(comparison), _sentences(comparison, metric), _keys(comparison)]
    if len(comparison.with_results) < 2:
        return parts
    if not metric:
        return [*parts, message("No maps", "The runs have no metric in common.")]
    return [*parts, *_figures(index, comparison, replace(view, metric=metric))]


def _heads(comparison: Comparison) -> Component:
    rows = [
        html.Tr(
            [
                html.Td(html.B(name[0])),
                html.Td(run_link(run.entry)),
                html.Td(run.entry.title),
                html.Td(badge(run.entry.status)),
                html.Td(f"{run.entry.headline} {with_interval(run.entry.value, run.entry.low, run.entry.high)}"),
            ]
        )
        for name, run in zip(comparison.names, comparison.runs, strict=True)
    ]
    return html.Table(html.Tbody(rows))


def _sentences(comparison: Comparison, metric: str) -> Component:
    lines = [html.Li(line) for line in comparison.comparable(metric)]
    return html.Div([html.H3("What can be compared"), html.Ul(lines)])


def _keys(comparison: Comparison) -> Component:
    rows = comparison.differing_keys()
    if not rows:
        return html.Div([html.H3("Keys that differ"), note("None: the configs are the same.")])
    columns: list[dict[str, Any]] = [{"field": "key", "headerName": "Key", "flex": 2}]
    columns += [
        {"field": f"run{place}", "headerName": name[0], "headerTooltip": name, "flex": 2, "tooltipField": f"run{place}"}
        for place, name in enumerate(comparison.names)
    ]
    return html.Div([html.H3("Keys that differ"), grid("compare-keys", rows, columns)])


def _figures(index: Index, comparison: Comparison, view: CompareView) -> list[Component]:
    shown = list(comparison.with_results)
    runs = [comparison.runs[place] for place in shown]
    names = [comparison.names[place] for place in shown]
    first = runs[0].results
    assert first is not None
    cut = first.cut_of(view.cut)
    controls = [control("Metric", choice({"compare": "metric"}, comparison.metrics, view.metric))]
    controls += [
        control(name, choice({"cut": name, "of": "compare"}, first.cuts[name], value)) for name, value in cut.items()
    ]
    texts = [f"{name}={value}" for name, value in cut.items()]
    grids = [each for place in shown if (each := comparison.grid(place, view.metric, texts)) is not None]
    n_prompts = [int(run.row["n_prompts"]) if run.row.get("n_prompts") else None for run in runs]
    maps = maps_figure(grids, [_short(name) for name in names], view.metric, n_prompts)
    parts: list[Component] = [
        html.H3("Maps"),
        html.Div([html.Div(controls, className="controls"), graph("compare-maps", maps)], className="panel"),
    ]
    if shown[0] == 0:
        parts += [html.H3("Differences, paired by prompt"), _differences(index, comparison, shown, texts)]
    if comparison.common:
        figure = scatter_figure(runs, [_short(name) for name in names], view.metric, comparison.common)
        parts += [html.H3("Site by site"), html.Div(graph("compare-scatter", figure), className="panel")]
    return parts


def _differences(index: Index, comparison: Comparison, shown: Sequence[int], cut: Sequence[str]) -> Component:
    parts: list[Component] = []
    own = comparison.grid(0, "logit_diff", cut)
    for place in shown[1:]:
        name = f"{comparison.names[place][0]} − A"
        difference = comparison.difference(index.runs, place)
        if not isinstance(difference, Difference) or own is None:
            parts.append(note(f"{name}: no paired differences, since {difference}."))
            continue
        title = f"{name}: logit difference, paired over {difference.n_prompts} prompts"
        figure = difference_map(own, comparison.runs[0].labels, difference, title)
        parts.append(html.Div(graph({"difference": str(place)}, figure), className="panel"))
    return html.Div(parts, className="halves")


def _short(name: str) -> str:
    """Return a name that fits above a map: of a long folder, the end."""
    return name if len(name) <= 38 else f"{name[:3]}…{name[-34:]}"


def connect(app: Dash, index: Index) -> None:
    """Answer the page's controls."""

    @app.callback(
        Output("compare-content", "children"),
        Output({"view": "compare"}, "data"),
        Input("compare-runs", "value"),
        Input({"compare": ALL}, "value"),
        Input({"cut": ALL, "of": "compare"}, "value"),
        State({"cut": ALL, "of": "compare"}, "id"),
        State({"view": "compare"}, "data"),
        prevent_initial_call=True,
    )
    def draw(
        folders: list[str] | None,
        metric: list[str],
        cuts: list[str | None],
        names: list[dict[str, str]],
        shown: str,
    ) -> Any:
        before = view_at(*shown.partition("?")[::2])
        old = before.metric if isinstance(before, CompareView) else ""
        texts = tuple(f"{name['cut']}={value}" for name, value in zip(names, cuts, strict=True) if value is not None)
        view = CompareView(tuple(folders or ()), metric[0] if metric else old, texts)
        return content(index, view), view.address
