"""The figure of a site: its values in all runs, a panel per metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from ioi_lab.dashboard.figures import COLOURS, NEUTRAL, SYMBOLS, number, plain, styled, words
from ioi_lab.dashboard.sites import SiteRow

MAX_PANELS: Final = 6
MAX_POINTS: Final = 40
"""The greatest number of rows of a panel: those of the newest runs."""


def site_figure(rows: Sequence[SiteRow], title: str) -> Figure:
    """Return the values with their intervals, the newest runs at the top; hollow: not distinguishable from none."""
    groups: dict[str, list[SiteRow]] = defaultdict(list)
    for row in rows:
        groups[row.metric].append(row)
    largest = sorted(groups, key=lambda metric: -len(groups[metric]))[:MAX_PANELS]
    columns = min(len(largest), 2) or 1
    n_rows = -(-len(largest) // columns) or 1
    titles = [plain(words(metric)) for metric in largest]
    figure = make_subplots(
        n_rows, columns, subplot_titles=titles, horizontal_spacing=0.2, vertical_spacing=0.2 / n_rows
    )
    kinds = list(dict.fromkeys(row.entry.intervention for row in rows))
    named: set[str] = set()
    for place, metric in enumerate(largest):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        shown = groups[metric][:MAX_POINTS]
        labels = [label_of(row, place_of_row) for place_of_row, row in enumerate(shown)]
        for kind in dict.fromkeys(row.entry.intervention for row in shown):
            of_kind = [(label, row) for label, row in zip(labels, shown, strict=True) if row.entry.intervention == kind]
            colour = COLOURS[kinds.index(kind) % len(COLOURS)]
            symbol = SYMBOLS[kinds.index(kind) % len(SYMBOLS)]
            each = [row for _, row in of_kind]
            figure.add_scatter(
                x=[row.value for row in each],
                y=[plain(label) for label, _ in of_kind],
                name=plain(kind),
                legendgroup=kind,
                showlegend=kind not in named,
                mode="markers",
                marker={
                    "color": colour,
                    "size": 9,
                    "symbol": [f"{symbol}-open" if row.verdict.startswith("no") else symbol for row in each],
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [0.0 if row.high is None else row.high - row.value for row in each],
                    "arrayminus": [0.0 if row.low is None else row.value - row.low for row in each],
                    "width": 3,
                },
                hovertext=[hover_text(row) for row in each],
                hoverinfo="text",
                **where,
            )
            named.add(kind)
        figure.update_yaxes(
            autorange="reversed",
            type="category",
            categoryorder="array",
            categoryarray=[plain(label) for label in labels],
            **where,
        )
        figure.add_vline(x=0, line={"color": NEUTRAL, "width": 0.8, "dash": "dot"}, **where)
    figure.update_annotations(font={"size": 12})
    tallest = max((min(len(groups[metric]), MAX_POINTS) for metric in largest), default=1)
    height = int(np.clip(n_rows * (110 + 22 * tallest) + 80, 320, 2000))
    note = "\nhollow: not distinguishable from no effect" if any(row.verdict.startswith("no") for row in rows) else ""
    return styled(figure, title + note, height=height).update_layout(margin={"t": 90, "l": 230})


def label_of(row: SiteRow, place: int) -> str:
    """Return the label of a row, which differs from those of all others of its panel."""
    run = row.entry.folder.split("/")[0]
    return f"{place + 1}. {run[:14]}{'…' * (len(run) > 14)} {row.name[:26]}{'…' * (len(row.name) > 26)}"


def hover_text(row: SiteRow) -> str:
    """Return the hover text of a row."""
    interval = "" if row.low is None or row.high is None else f" [{number(row.low)}, {number(row.high)}]"
    lines = [
        f"<b>{plain(row.entry.title)}</b>",
        plain(row.entry.folder),
        plain(row.name),
        f"{plain(words(row.metric))} {number(row.value)}{interval}",
        f"rank {row.rank} of {row.n_rows} by size",
        plain(row.remark),
    ]
    return "<br>".join(filter(None, lines))
