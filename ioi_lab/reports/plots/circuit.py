"""A circuit as a diagram: heads in the column of their role and the row of their layer, measured effects as arrows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.style import context

from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, STYLE, set_title

_BOX: Final = 0.52
"""The width of a head's box, in inches, with the gap to the next."""

_ROW: Final = 0.34


@dataclass(frozen=True)
class Node:
    """A head in one of its roles."""

    head: str
    layer: int
    role: str


@dataclass(frozen=True)
class Effect:
    """A measured effect of a head on another, or on the logits: wider for larger shares, red below 0."""

    source: str
    target: str
    share: float


LOGITS: Final = "logits"


def circuit(
    nodes: Sequence[Node], effects: Sequence[Effect], roles: Mapping[str, str], title: str, caption: str
) -> Figure:
    """Roles from left to right, layers from the bottom up, the logits on top; arrows are measured effects.

    `roles` gives each column's name and the colour of its boxes. An arrow joins the rightmost boxes of its ends.
    """
    layers = sorted({node.layer for node in nodes})
    cells: dict[tuple[str, int], list[Node]] = defaultdict(list)
    for node in nodes:
        cells[node.role, node.layer].append(node)
    widest = {role: max([1, *(len(cells[role, layer]) for layer in layers)]) for role in roles}
    with context(STYLE):
        width = sum(max(1.25, _BOX * count + 0.2) for count in widest.values()) + 1.2
        height = _ROW * (len(layers) + 2) + 1.6
        figure = Figure(figsize=(width, height), layout="constrained")
        ax = figure.subplots()
        places: dict[str, list[tuple[float, float]]] = defaultdict(list)
        left = 0.0
        for role, colour in roles.items():
            space = max(1.25, _BOX * widest[role] + 0.2)
            middle = left + space / 2
            ax.text(middle, -0.8, role.replace(" ", "\n", 1), ha="center", va="top", fontsize=8.5)
            if not any(cells[role, layer] for layer in layers):
                ax.text(middle, (len(layers) - 1) / 2, "none", ha="center", va="center", color=NEUTRAL, style="italic")
            for row, layer in enumerate(layers):
                for index, node in enumerate(cells[role, layer]):
                    x = middle + (index - (len(cells[role, layer]) - 1) / 2) * _BOX
                    places[node.head].append((x, row))
                    _box(ax, x, row, node.head, colour)
            left += space
        writers = [places[effect.source][-1][0] for effect in effects if effect.target == LOGITS] or [left / 2]
        places[LOGITS] = [((min(writers) + max(writers)) / 2, len(layers) + 0.8)]
        _box(ax, *places[LOGITS][0], LOGITS, "#ffffff")
        for effect in effects:
            _arrow(ax, places[effect.source][-1], places[effect.target][-1], effect.share)
        ax.set_yticks(range(len(layers)), [str(layer) for layer in layers])
        ax.set(xlim=(0, left), ylim=(-2.2, len(layers) + 1.3), xticks=[], ylabel="layer")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_xlabel(caption, fontsize=7.5)
        set_title(figure, title)
    return figure


def _box(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    box = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "black", "linewidth": 0.8}
    ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=box, zorder=3)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], share: float) -> None:
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
