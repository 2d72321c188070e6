"""The figures of a circuit: faithfulness by size, and the circuit of a size as a graph."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from ioi_lab.dashboard.circuits import CircuitRun, Drawn
from ioi_lab.dashboard.figures import (
    ABOVE,
    COLOURS,
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    SYMBOLS,
    band,
    bounds,
    number,
    plain,
    styled,
)
from ioi_lab.reports.plots.edge_layout import INPUT, LOGITS, DrawnEdge, is_head, s_curve, short_name
from ioi_lab.reports.wording import counted

_GREYS: Final = {"uniform": "#9a9a9a", "matched": "#c4a484"}
_WIDEST: Final = 6.0
_THINNEST: Final = 1.0
_MLP_ROW: Final = -1.3
"""Where MLPs stand, below the heads, whose lowest row is 0."""

_RANGE: Final = (-0.5, 2.0)
"""What is shown of faithfulness, which has no bounds."""


def curve_figure(run: CircuitRun, size: int, title: str) -> Figure:
    """Return faithfulness by the number of edges, a line per method, random circuits in grey, and the size chosen."""
    figure = Figure()
    for kind, rows in run.controls.groupby("kind"):
        _add_line(figure, rows, f"random, {kind}", _GREYS.get(str(kind), NEUTRAL), "circle-open", dash="dot")
    groups = run.curve.groupby(["method", "ranking"], sort=False)
    many_rankings = run.curve["ranking"].nunique() > 1
    for place, ((method, ranking), rows) in enumerate(groups):
        name = f"{method} ({ranking})" if many_rankings else str(method)
        _add_line(figure, rows, name, COLOURS[place % len(COLOURS)], SYMBOLS[place % len(SYMBOLS)])
    figure.add_vline(x=size, line={"color": "black", "width": 1.2, "dash": "dash"})
    for level in (0.0, 1.0):
        figure.add_hline(y=level, line={"color": NEUTRAL, "width": 0.8, "dash": "dot"})
    values = run.curve["faithfulness"].to_numpy(dtype=float)
    low, high = np.nanmin([*values, 0.0]) - 0.1, np.nanmax([*values, 1.0]) + 0.1
    figure.update_xaxes(type="log", title="number of edges in the circuit (logarithmic)", dtick=1)
    figure.update_yaxes(
        title="faithfulness (0: no edges, 1: all)", range=[max(low, _RANGE[0]), min(high, _RANGE[1])], zeroline=False
    )
    return styled(figure, title, height=380, legend=ABOVE | {"y": -0.2, "yanchor": "top", "xanchor": "right"})


def _add_line(figure: Figure, rows: pd.DataFrame, name: str, colour: str, symbol: str, dash: str = "solid") -> None:
    sizes, values = rows["edges_asked"].tolist(), rows["faithfulness"].tolist()
    known = "faithfulness_low" in rows and rows["faithfulness_low"].notna().any()
    low = rows["faithfulness_low"].fillna(rows["faithfulness"]).tolist() if known else values
    high = rows["faithfulness_high"].fillna(rows["faithfulness"]).tolist() if known else values
    if known:
        figure.add_trace(band(sizes, low, high, colour))
    ends = [rows[name] if known else [np.nan] * len(rows) for name in ("faithfulness_low", "faithfulness_high")]
    texts = [number(value) + bounds(*interval) for value, *interval in zip(values, *ends, strict=True)]
    figure.add_scatter(
        x=sizes,
        y=values,
        name=plain(name),
        mode="lines+markers",
        line={"color": colour, "dash": dash},
        marker={"symbol": symbol, "size": 7},
        customdata=texts,
        hovertemplate=f"{plain(name)}<br>%{{x:,}} edges: %{{customdata}}<extra></extra>",
    )


def graph_figure(drawn: Drawn, title: str) -> Figure:
    """Return a circuit as a graph: layers from left to right, heads above MLPs, edges as wide as their scores."""
    figure = Figure()
    widest = max((abs(edge.score) for edge in drawn.edges), default=0.0) or 1.0
    for edge in sorted(drawn.edges, key=lambda edge: abs(edge.score)):
        _add_edge(figure, drawn, edge, abs(edge.score) / widest)
    _add_nodes(figure, drawn)
    rows = max(drawn.places.n_rows, 1)
    columns = len(drawn.places.layers)
    figure.update_xaxes(
        tickvals=list(range(columns)),
        ticktext=[f"layer {layer}" for layer in drawn.places.layers],
        range=[-1.6, columns + 0.6],
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(visible=False, range=[_MLP_ROW - 1.2, rows - 0.2])
    note = "" if drawn.n_edges == len(drawn.edges) else f", the {len(drawn.edges)} strongest drawn"
    figure = styled(
        figure,
        f"{title}{note}\nblue helps, red works against; width: score",
        height=int(np.clip(220 + 52 * rows, 340, 800)),
    )
    return figure.update_layout(showlegend=False, hovermode="closest")


def place_of(drawn: Drawn, node: str) -> tuple[float, float]:
    """Return where a node stands: its column, and its row."""
    x = drawn.places.column(node)
    if is_head(node):
        return x, float(drawn.places.rows[node])
    return x, _MLP_ROW if node not in (INPUT, LOGITS) else (max(drawn.places.n_rows - 1, 0) + _MLP_ROW) / 2


def _add_edge(figure: Figure, drawn: Drawn, edge: DrawnEdge, share: float) -> None:
    (x0, y0), (x1, y1) = place_of(drawn, edge.writer), place_of(drawn, edge.reader)
    if edge.writer == INPUT:
        y0 = y1
    if edge.reader == LOGITS:
        y1 = y0
    t = np.linspace(0, 1, 25)
    y = y0 + (y1 - y0) * s_curve(t)
    if not (is_head(edge.writer) or is_head(edge.reader)):
        y = y - 0.28 * (x1 - x0) * np.sin(np.pi * t)  # below the MLPs between two of them
    figure.add_scatter(
        x=x0 + (x1 - x0) * t,
        y=y,
        mode="lines",
        line={"color": POSITIVE if edge.score >= 0 else NEGATIVE, "width": _THINNEST + (_WIDEST - _THINNEST) * share},
        opacity=0.45 + 0.45 * share,
        text=f"{plain(edge.name)}: {number(edge.score)}",
        hoverinfo="text",
    )


def _add_nodes(figure: Figure, drawn: Drawn) -> None:
    nodes = sorted({node for edge in drawn.edges for node in (edge.writer, edge.reader)} | {INPUT, LOGITS})
    looks: dict[bool, dict[str, Any]] = {
        True: {"symbol": "square", "size": 30, "color": "#f2f5fa"},
        False: {"symbol": "square", "size": 26, "color": "#f6efdd"},
    }
    for of_heads in (True, False):
        shown = [node for node in nodes if is_head(node) == of_heads and node not in (INPUT, LOGITS)]
        _add_boxes(figure, drawn, shown, looks[of_heads])
    bottom, top = _MLP_ROW - 0.6, max(drawn.places.n_rows - 0.5, 0.5)
    for node in (INPUT, LOGITS):
        x = drawn.places.column(node)
        figure.add_shape(
            type="rect",
            x0=x - 0.12,
            x1=x + 0.12,
            y0=bottom,
            y1=top,
            fillcolor="#e4e4e4",
            line={"color": "#333", "width": 1},
        )
        figure.add_annotation(x=x, y=(bottom + top) / 2, text=node, textangle=-90, showarrow=False)


def _add_boxes(figure: Figure, drawn: Drawn, nodes: list[str], look: dict[str, Any]) -> None:
    places = [place_of(drawn, node) for node in nodes]
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers+text",
        text=[short_name(node) for node in nodes],
        marker=look | {"line": {"color": "#333", "width": 1}, "opacity": 1},
        hovertext=[node_text(drawn, node) for node in nodes],
        hoverinfo="text",
        textfont={"size": 11},
    )


def node_text(drawn: Drawn, node: str) -> str:
    """Return the hover text of a node: what it reads and writes in the circuit."""
    reads = [edge for edge in drawn.edges if edge.reader == node]
    writes = [edge for edge in drawn.edges if edge.writer == node]
    lines = [f"<b>{short_name(node)}</b>: reads {counted(len(reads), 'edge')}, writes {len(writes)}"]
    strongest = sorted([*reads, *writes], key=lambda edge: -abs(edge.score))[:6]
    return "<br>".join([*lines, *(f"{plain(edge.name)}: {number(edge.score)}" for edge in strongest)])
