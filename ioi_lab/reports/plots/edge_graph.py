"""A circuit of edges as a graph: a column per layer from the input to the logits, heads above MLPs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.style import context

from ioi_lab.reports.plots.edge_layout import (
    INPUT,
    LOGITS,
    DrawnEdge,
    Places,
    columns_of,
    is_head,
    merged,
    short_name,
    strongest,
)
from ioi_lab.reports.plots.sizes import MAX_INCHES, left_out, new_figure
from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, STYLE, finish
from ioi_lab.stats.metrics import Array

Point = tuple[float, float]

_MOST: Final = 60
"""The greatest number of edges that are drawn: more could not be followed."""

_COLUMN: Final = (0.6, 0.92)
"""The least and the greatest width of a column, in inches."""

_ROW: Final = 0.44
_HEAD: Final = (0.52, 0.34)
_MLP: Final = (0.36, 0.26)
_BAR: Final = 0.26
"""The sizes of boxes, in inches."""

_MLP_GAP: Final = 0.75
"""The height between the lowest row of heads and the MLPs, in inches."""

_TURN: Final = 0.5
"""The part of a column in which an edge of an MLP turns from upright to level."""

_NARROWEST: Final = 5.2
"""The least width of a graph, in inches, for the texts around it."""

_SIDES: Final = 1.9
"""The width of the input, the logits and the margins, in inches."""

_AROUND: Final = 2.6
"""The height of all but the rows of heads, in inches."""

_PORTS: Final = {"q": 0.1, "k": 0.0, "v": -0.1, "": 0.0}
"""How far above the middle of a head's box its inputs are, in inches."""

_WIDEST: Final = 4.0
_THINNEST: Final = 0.7
_HEAD_COLOUR: Final = "#f2f5fa"
_MLP_COLOUR: Final = "#f6efdd"
_BAR_COLOUR: Final = "#e4e4e4"


def edge_graph(
    names: Sequence[str],
    scores: Float[Array, "edge"] | None,
    title: str,
    caption: str,
    shared: int = 1,
) -> Figure:
    """Draw the edges of a circuit from left to right: wider for larger scores, in one colour per sign.

    Edges into the query, the key and the value of a head end at its `q`, `k` and `v`. Of many edges, the strongest are
    drawn with what connects them; those at several positions are drawn as one, with the sum of their scores.

    Args:
        names: The names of the edges, such as `a5.h3->a9.h2<q>`.
        scores: Their scores; None, or nothing but 0 and NaN, draws all alike.
        title: The title of the figure.
        caption: The text below the graph.
        shared: How many query heads share a key/value head.

    """
    if scores is not None and not np.nan_to_num(scores).any():
        scores = None
    known = np.ones(len(names)) if scores is None else np.nan_to_num(scores)
    edges = merged(names, known, shared)
    drawn = strongest(edges, _MOST, _fits)
    title += left_out(_count(drawn), _count(edges), "edges", "the strongest, with what connects them")
    places = Places.of(drawn)
    canvas = _Canvas(places, drawn, _column_width(len(places.layers)))
    widest = max((abs(edge.score) for edge in drawn), default=0.0) or 1.0
    with context(STYLE):
        figure = new_figure(canvas.width + 0.5, canvas.height + 1.3)
        ax = figure.subplots()
        for edge in sorted(drawn, key=lambda edge: -abs(edge.score)):
            colour = NEUTRAL if scores is None else POSITIVE if edge.score >= 0 else NEGATIVE
            canvas.draw_edge(ax, edge, 0.4 if scores is None else abs(edge.score) / widest, colour)
        canvas.draw_nodes(ax, drawn)
        ax.set_xticks([canvas.x(float(column)) for column in range(len(places.layers))], map(str, places.layers))
        ax.set(xlim=(canvas.left, canvas.right), ylim=(canvas.bottom, canvas.top), yticks=[])
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_xlabel(f"layer\n{caption}" if places.layers else caption)
        if scores is not None:
            _explain(ax, drawn, widest)
        finish(figure, title, [ax])
    return figure


def _count(edges: Sequence[DrawnEdge]) -> int:
    return len({edge.name for edge in edges})


def _column_width(n_columns: int) -> float:
    return float(np.clip((MAX_INCHES - _SIDES) / max(n_columns, 1), *_COLUMN))


def _fits(edges: Sequence[DrawnEdge]) -> bool:
    layers, heads = columns_of(edges)
    n_rows = max((len(column) for column in heads), default=0) + 2
    return _COLUMN[0] * len(layers) + _SIDES <= MAX_INCHES and _ROW * n_rows + _AROUND + 1 <= MAX_INCHES


def _explain(ax: Axes, edges: Sequence[DrawnEdge], widest: float) -> None:
    """Say above the graph what colours and widths mean."""
    signs = {edge.score >= 0 for edge in edges}
    meanings = {True: (POSITIVE, "helps the behaviour"), False: (NEGATIVE, "works against it")}
    handles = [
        Line2D([], [], color=_paler(colour), linewidth=2, label=label)
        for is_positive, (colour, label) in meanings.items()
        if is_positive in signs
    ]
    for share in (1.0, 0.25):
        label = f"score {share * widest:.2g}"
        handles.append(Line2D([], [], color=NEUTRAL, linewidth=_line_width(share), label=label))
    ax.legend(handles=handles, loc="upper center", ncols=4, frameon=False, fontsize=8, borderaxespad=0)


def _line_width(share: float) -> float:
    return _THINNEST + (_WIDEST - _THINNEST) * share


def _paler(colour: str) -> str:
    """Return a colour mixed with white: opaque, so that an arrow is as dark where it crosses others."""
    red, green, blue = (0.7 * part + 0.3 for part in to_rgb(colour))
    return to_hex((red, green, blue))


class _Canvas:
    """The graph in inches."""

    def __init__(self, places: Places, edges: Sequence[DrawnEdge], column: float) -> None:
        self._places, self._column = places, column
        nodes = {node for edge in edges for node in (edge.writer, edge.reader)}
        self._mlps = sorted(places.column(node) for node in nodes if node.startswith("m"))
        self._mlp = -_MLP_GAP if self._mlps and places.n_rows else 0.0
        depth = max((self._depth(edge) for edge in edges), default=0.0)
        self._low, self._high = self._mlp - depth - 0.35, max(places.n_rows - 0.3, 0.7) * _ROW
        self.left, self.right = self.x(-1.0) - 0.3, self.x(float(len(places.layers))) + 0.3
        margin = max(0.0, _NARROWEST - (self.right - self.left)) / 2
        self.left, self.right = self.left - margin, self.right + margin
        self.bottom, self.top = self._low - 0.1, self._high + 0.4
        self.width, self.height = self.right - self.left, self.top - self.bottom

    def x(self, column: float) -> float:
        return column * self._column

    def place(self, node: str) -> Point:
        x = self.x(self._places.column(node))
        return (x, self._places.rows[node] * _ROW) if is_head(node) else (x, self._mlp)

    def draw_nodes(self, ax: Axes, edges: Sequence[DrawnEdge]) -> None:
        """Draw the boxes of nodes, with the inputs of heads that edges end at."""
        for node in sorted({node for edge in edges for node in (edge.writer, edge.reader)} | {INPUT, LOGITS}):
            x, y = self.place(node)
            if node in (INPUT, LOGITS):
                middle, height = (self._high + self._low) / 2, self._high - self._low
                _draw_box(ax, (x, middle), (_BAR, height), node, _BAR_COLOUR, upright=True)
            elif is_head(node):
                ports = sorted({edge.port for edge in edges if edge.reader == node} - {""})
                _draw_box(ax, (x, y), _HEAD, short_name(node), _HEAD_COLOUR, shift=0.05 if ports else 0.0)
                for port in ports:
                    left = x - _HEAD[0] / 2 + 0.06
                    ax.text(left, y + _PORTS[port], port, ha="center", va="center", fontsize=6, color=NEUTRAL, zorder=4)
            else:
                _draw_box(ax, (x, y), _MLP, short_name(node), _MLP_COLOUR)

    def draw_edge(self, ax: Axes, edge: DrawnEdge, share: float, colour: str) -> None:
        arrow = FancyArrowPatch(
            path=self._curve(edge),
            arrowstyle="-|>,head_length=3.2,head_width=1.6",
            mutation_scale=1.0 + 0.4 * share,
            linewidth=_line_width(share),
            color=_paler(colour),
            zorder=2,
            capstyle="butt",
            joinstyle="miter",
        )
        ax.add_patch(arrow)

    def _curve(self, edge: DrawnEdge) -> Path:
        """Return the curve of an edge: level at heads, upright at MLPs, and below the MLPs between two of them."""
        (x0, y0), (x1, y1) = self.place(edge.writer), self.place(edge.reader)
        y1 += _PORTS[edge.port]
        from_head, to_head = is_head(edge.writer), is_head(edge.reader)
        if not (from_head or to_head):
            return self._between_mlps(edge, x0, x1)
        if from_head:
            x0 += _HEAD[0] / 2
        elif edge.writer == INPUT:
            x0, y0 = x0 + _BAR / 2, y1
        else:
            x0, y0 = x0 + 0.06, y0 + _MLP[1] / 2
            x1 -= _HEAD[0] / 2
            turned = x0 + _TURN * min(self._column, x1 - x0)
            return _path((x0, y0), [(x0, y1), (x0, y1), (turned, y1)], [(x1, y1)])
        if to_head:
            x1 -= _HEAD[0] / 2
        elif edge.reader == LOGITS:
            x1, y1 = x1 - _BAR / 2, y0
        else:
            x1, y1 = x1 - 0.06, y1 + _MLP[1] / 2
            turned = x1 - _TURN * min(self._column, x1 - x0)
            return _path((x0, y0), [(turned, y0)], [(x1, y0), (x1, y0), (x1, y1)])
        middle = (x0 + x1) / 2
        return _path((x0, y0), [(middle, y0), (middle, y1), (x1, y1)])

    def _depth(self, edge: DrawnEdge) -> float:
        """Return how far below the MLPs an edge passes: 0 unless some stand between its ends."""
        if is_head(edge.writer) or is_head(edge.reader):
            return 0.0
        first, last = self._places.column(edge.writer), self._places.column(edge.reader)
        between = bisect_left(self._mlps, last) - bisect_right(self._mlps, first)
        return 0.25 + 0.09 * between if between > 0 else 0.0

    def _between_mlps(self, edge: DrawnEdge, x0: float, x1: float) -> Path:
        """Return a straight line to the next MLP, or a curve that passes below those between, lower for more."""
        depth = self._depth(edge)
        if not depth:
            x0 += (_BAR if edge.writer == INPUT else _MLP[0]) / 2
            x1 -= (_BAR if edge.reader == LOGITS else _MLP[0]) / 2
            y = self._mlp
            return _path((x0, y), [(x1, y)])
        low, bottom = self._mlp - depth, self._mlp - _MLP[1] / 2
        left = (x0 + _BAR / 2, low) if edge.writer == INPUT else (x0 + 0.07, bottom)
        right = (x1 - _BAR / 2, low) if edge.reader == LOGITS else (x1 - 0.07, bottom)
        bend = min(0.3, 0.3 * (x1 - x0))
        after, before = (left[0] + bend, low), (right[0] - bend, low)
        down, up = [(left[0], low), (left[0], low), after], [(right[0], low), (right[0], low), right]
        return _path(left, down, [before], up)


def _path(start: Point, *parts: list[Point]) -> Path:
    """Return a path of lines, which have one further point, and cubic curves, which have three."""
    codes = [Path.CURVE4 if len(part) == 3 else Path.LINETO for part in parts for _ in part]
    return Path([start, *(point for part in parts for point in part)], [Path.MOVETO, *codes])


def _draw_box(
    ax: Axes, place: Point, size: Point, text: str, colour: str, *, shift: float = 0.0, upright: bool = False
) -> None:
    (x, y), (width, height) = place, size
    box = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=colour,
        edgecolor="#333333",
        linewidth=0.8,
        zorder=3,
    )
    ax.add_patch(box)
    rotation = 90 if upright else 0
    ax.text(x + shift, y, text, ha="center", va="center", fontsize=7.5, rotation=rotation, zorder=4)
