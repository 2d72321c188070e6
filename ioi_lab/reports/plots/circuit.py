"""A circuit as a diagram: each head in the column of its role and the row of its layer, effects as arrows."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.style import context

from ioi_lab.reports.plots.sizes import MAX_INCHES, left_out, new_figure, shortened, wrapped
from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, STYLE, finish

Place = tuple[float, float]
"""A point of the diagram: x in inches, y in rows."""

_BOX: Final = 0.52
"""The width of a head's box, in inches, with the gap to the next."""

_ROW: Final = 0.34
"""The height of a layer's row, in inches."""

_COLUMN: Final = 1.25
"""The least width of a role's column, in inches."""

_MARGIN: Final = 1.2
_TITLE: Final = 1.0
"""The height that a title of many lines takes, in inches."""

_NAME_WIDTH: Final = 16
"""The greatest number of characters of a role in a line."""

_MAX_NAME: Final = 7
"""The greatest number of characters of a head."""


@dataclass(frozen=True)
class Node:
    """A head in one of its roles."""

    head: str
    layer: int
    role: str


@dataclass(frozen=True)
class Effect:
    """A measured effect of a head on another head, or on the logits; `source` and `target` are heads or `LOGITS`."""

    source: str
    target: str
    share: float
    """The size of the effect: the arrow is wider for larger shares, and red below 0."""


LOGITS: Final = "logits"
"""The name of the node of the logits."""


def circuit(
    nodes: Sequence[Node], effects: Sequence[Effect], roles: Mapping[str, str], title: str, caption: str
) -> Figure:
    """Draw roles from left to right, layers from the bottom up, and the logits on top.

    Args:
        nodes: The heads, once per role that they have. If not all of them fit, those with the largest effects are
            drawn.
        effects: The arrows. A head with several roles has its arrows at its rightmost box.
        roles: The name of each column with the colour of its boxes.
        title: The title of the figure.
        caption: The text below the diagram.

    """
    kept = _most_that_fit(nodes, effects, roles)
    drawn = {node.head for node in kept} | {LOGITS}
    effects = [effect for effect in effects if {effect.source, effect.target} <= drawn]
    title += left_out(len(kept), len(nodes), "heads", "those with the largest effects")
    layers = sorted({node.layer for node in kept})
    cells: dict[tuple[str, int], list[Node]] = defaultdict(list)
    for node in kept:
        cells[node.role, node.layer].append(node)
    rows = {role: [cells[role, layer] for layer in layers] for role in roles}
    widths = _widths(kept, roles)
    right = sum(widths.values())
    with context(STYLE):
        figure = new_figure(right + _MARGIN, _ROW * (len(layers) + 2) + 1.6)
        ax = figure.subplots()
        places: dict[str, Place] = {}
        left = 0.0
        for role, colour in roles.items():
            places |= _draw_column(ax, left + widths[role] / 2, role, colour, rows[role])
            left += widths[role]
        writers = [places[effect.source][0] for effect in effects if effect.target == LOGITS] or [right / 2]
        places[LOGITS] = ((min(writers) + max(writers)) / 2, len(layers) + 0.8)
        _draw_box(ax, places[LOGITS], LOGITS, "#ffffff")
        for effect in effects:
            _draw_arrow(ax, places[effect.source], places[effect.target], effect.share)
        ax.set_yticks(range(len(layers)), [str(layer) for layer in layers])
        ax.set(xlim=(0, right), ylim=(-2.2, len(layers) + 1.3), xticks=[], ylabel="layer")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_xlabel(caption, fontsize=7.5)
        finish(figure, title, [ax])
    return figure


def _widths(nodes: Sequence[Node], roles: Iterable[str]) -> dict[str, float]:
    """Return the width of each role's column in inches: that of the layer with most heads of the role."""
    most = Counter[str]()
    for (role, _), heads in Counter((node.role, node.layer) for node in nodes).items():
        most[role] = max(most[role], heads)
    return {role: max(_COLUMN, _BOX * most[role] + 0.2) for role in roles}


def _most_that_fit(nodes: Sequence[Node], effects: Sequence[Effect], roles: Mapping[str, str]) -> list[Node]:
    """Return, in their order, as many nodes as fit into a figure: those whose arrows are widest together."""
    sizes: dict[str, float] = defaultdict(float)
    for effect in effects:
        for head in (effect.source, effect.target):
            sizes[head] += abs(effect.share)
    ranked = sorted(range(len(nodes)), key=lambda index: -sizes[nodes[index].head])

    def is_too_large(count: int) -> bool:
        kept = [nodes[index] for index in ranked[:count]]
        too_high = _ROW * (len({node.layer for node in kept}) + 2) + 1.6 + _TITLE > MAX_INCHES
        return too_high or sum(_widths(kept, roles).values()) + _MARGIN > MAX_INCHES

    fitting = bisect_left(range(len(nodes) + 1), True, key=is_too_large) - 1
    return [nodes[index] for index in sorted(ranked[:fitting])]


def _draw_column(ax: Axes, x: float, role: str, colour: str, rows: Sequence[Sequence[Node]]) -> dict[str, Place]:
    """Draw the boxes of a role, centred on `x`, with a row per layer; return the place of each head."""
    name = wrapped(role.replace(" ", "\n", 1), _NAME_WIDTH, most=2)
    ax.text(x, -0.8, name, ha="center", va="top", fontsize=8.5)
    if not any(rows):
        ax.text(x, (len(rows) - 1) / 2, "none", ha="center", va="center", color=NEUTRAL, style="italic")
    places = {
        node.head: (x + (index - (len(nodes) - 1) / 2) * _BOX, float(row))
        for row, nodes in enumerate(rows)
        for index, node in enumerate(nodes)
    }
    for head, place in places.items():
        _draw_box(ax, place, head, colour)
    return places


def _draw_box(ax: Axes, place: Place, text: str, colour: str) -> None:
    box = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "black", "linewidth": 0.8}
    ax.text(*place, shortened(text, _MAX_NAME), ha="center", va="center", fontsize=8, bbox=box, zorder=3)


def _draw_arrow(ax: Axes, start: Place, end: Place, share: float) -> None:
    arrow = FancyArrowPatch(
        start,
        end,
        arrowstyle="-|>",
        mutation_scale=8,
        shrinkA=9,
        shrinkB=9,
        linewidth=0.5 + 4 * min(1.0, abs(share)),
        color=POSITIVE if share > 0 else NEGATIVE,
        alpha=0.65,
        zorder=2,
    )
    ax.add_patch(arrow)
