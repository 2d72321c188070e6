"""The prompts of a site: what a row of the results does to each of them."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
from dash import html
from dash.development.base_component import Component
from plotly.graph_objects import Figure

from ioi_lab.dashboard.figures import ABOVE, NEGATIVE, NEUTRAL, POSITIVE, bounds, number, plain, styled, words
from ioi_lab.dashboard.parts import graph, grid, message, note, number_column
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.results import Results, UnreadableError, read_prompts
from ioi_lab.reports.wording import counted

_TEXTS: Final = {"clean": "Clean prompt", "corrupt": "Corrupted prompt", "answer": "Answer", "distractor": "Distractor"}
_NUMBERS: Final = {
    "logit_diff": "Edited",
    "clean_logit_diff": "Clean",
    "corrupted_logit_diff": "Corrupted",
    "p_answer": "p(answer)",
    "p_distractor": "p(distractor)",
}


Shown = list[Component]


def prompts_of(runs: RunsFolder, folder: str, results: Results, row: int | None) -> tuple[Shown, Shown]:
    """Return a figure and a table of the prompts of a row of the results; words if there is nothing to show."""
    if row is None or not 0 <= row < len(results.table):
        return [message("No site is chosen", "Click on a cell of the map to see its prompts here.")], []
    name = results.name_of(row)
    try:
        prompts = read_prompts(runs, folder, row)
    except UnreadableError as error:
        why = "this kind of run keeps no values by prompt" if "has no per_prompt" in str(error) else str(error)
        return [html.H3(name), note(f"Without prompts: {why}. All metrics of the site:"), _metrics(results, row)], []
    if prompts.empty:
        return [message(name, "There are no values by prompt of this site.")], []
    figure = graph("run-prompts-figure", prompt_figure(prompts, f"{name}: {counted(len(prompts), 'prompt')}"))
    return [figure], [grid("run-prompts-table", prompts.to_dict("records"), prompt_columns(prompts))]


def prompt_figure(prompts: pd.DataFrame, title: str) -> Figure:
    """Return the logit difference of each prompt when it is edited, next to that of the two unedited passes.

    Prompts are sorted by the edited logit difference.
    """
    shown = prompts.sort_values("logit_diff", ascending=False)
    texts = [plain(text) for text in shown["clean"]] if "clean" in shown else [""] * len(shown)
    figure = Figure()
    looks = (
        ("corrupted_logit_diff", "corrupted", NEGATIVE, "triangle-down"),
        ("clean_logit_diff", "clean", POSITIVE, "triangle-up"),
        ("logit_diff", "edited", NEUTRAL, "circle"),
    )
    for column, name, colour, symbol in looks:
        if column in shown:
            figure.add_scatter(
                x=list(range(1, len(shown) + 1)),
                y=shown[column].tolist(),
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9 if name == "edited" else 7},
                opacity=1.0 if name == "edited" else 0.55,
                customdata=texts,
                hovertemplate="%{customdata}<br>" + name + " %{y:.3f}<extra></extra>",
            )
    figure.update_xaxes(title="prompts, by their edited logit difference", showgrid=False, tickformat="d")
    figure.update_yaxes(title="logit difference", zerolinecolor="#999999")
    return styled(
        figure,
        title,
        height=320,
        legend=ABOVE,
    )


def prompt_columns(prompts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the columns of the table of prompts, of those that the run has."""
    numbers = [number_column(field, name, width=105) for field, name in _NUMBERS.items() if field in prompts]
    texts = [
        {"field": field, "headerName": name, "flex": 3 if field in ("clean", "corrupt") else 1, "tooltipField": field}
        for field, name in _TEXTS.items()
        if field in prompts
    ]
    return [*texts[:1], *texts[2:], *numbers, *texts[1:2]]


def _metrics(results: Results, row: int) -> Component:
    table, pairs = results.table, []
    for metric in results.metrics:
        values = [float(table[name].iloc[row]) for name in (metric, f"{metric}_low", f"{metric}_high") if name in table]
        interval = bounds(values[1], values[2]) if len(values) == 3 else ""
        pairs += [html.Dt(words(metric)), html.Dd(number(values[0]) + interval)]
    return html.Dl(pairs, className="facts")
