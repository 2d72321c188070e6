"""Curves over the sizes of circuits: their faithfulness, and their overlap with those of another method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import NullLocator

from ioi_lab.reports.plots.lines import Line
from ioi_lab.reports.plots.sizes import LINE, left_out, new_figure
from ioi_lab.reports.plots.style import LOOKS, MAX_LEGEND, NEUTRAL, STYLE, finish
from ioi_lab.stats.metrics import Array

Sizes = Int[np.ndarray[tuple[Any, ...], np.dtype[np.int64]], "size"]

_WIDTH: Final = 4.6
"""The width of the panel, in inches."""

_TICK_SIZE: Final = 7.5
_TICK_CHARACTER: Final = 0.064
"""The size of the ticks' font in points, and the width of a character in it, in inches."""

_LOWEST: Final = -1.0
_HIGHEST: Final = 2.5
"""What is drawn of faithfulness, which has no bounds: leaving negative heads out raises it."""

_MARGIN: Final = 0.1
_GREY: Final = "#b0b0b0"


def faithfulness_curves(
    shares: Float[Array, "size"],
    edges: Sizes,
    lines: Sequence[Line],
    title: str,
    bands: str,
    *,
    random: Line | None = None,
    half: str = "",
) -> Figure:
    """Draw the faithfulness of each method's circuits over their share of edges, with intervals as bands.

    Lines mark the faithfulness of no edges, 0, and of all edges, 1.

    Args:
        shares: The shares of all edges, from the least to the greatest; their scale is logarithmic.
        edges: The numbers of edges.
        lines: The curve of each method, with NaN for what is unknown; their colours are replaced.
        title: The title of the figure.
        bands: The name of the bands of methods, in the title.
        random: The curve of random circuits with the bounds of most of them, in grey.
        half: What a faithfulness of 0.5 means, such as `0.5: chance (s2)`, in at most 40 characters; draws a line.

    """
    every = [*lines, *([] if random is None else [random])]
    values = np.concatenate([[0.0, 1.0], *(line.values for line in every)])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    title += f"\nvalues below {_LOWEST:g} are not drawn" if low < _LOWEST else ""
    title += f"\nvalues above {_HIGHEST:g} are not drawn" if high > _HIGHEST else ""
    with context(STYLE):
        figure, ax = _panel(shares, edges, [line.name for line in every] + [half])
        title += _draw_methods(ax, shares, lines, bands)
        if random is not None:
            _draw_grey(ax, shares, random)
        for height in (0.0, 1.0):
            ax.axhline(height, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=1)
        if half:
            ax.axhline(0.5, color=NEUTRAL, linewidth=0.8, linestyle="-.", zorder=1, label=half)
        ax.set(ylim=(max(low - _MARGIN, _LOWEST), min(high + _MARGIN, _HIGHEST)))
        ax.set_ylabel("faithfulness (0: no edges, 1: all)")
        _finish(figure, ax, title)
    return figure


def jaccard_curves(
    shares: Float[Array, "size"], edges: Sizes, lines: Sequence[Line], reference: str, title: str, bands: str
) -> Figure:
    """Draw the Jaccard index of each method's circuits with those of a reference: edges in both / edges in either.

    A grey line shows that of random circuits. Arguments as those of `faithfulness_curves`; `reference`: the name of the
    method that the others are compared with.
    """
    unknown = np.full(len(shares), np.nan)
    random = Line("random circuits", shares / (2 - shares), unknown, unknown)
    with context(STYLE):
        figure, ax = _panel(shares, edges, [line.name for line in [*lines, random]])
        title += _draw_methods(ax, shares, lines, bands)
        _draw_grey(ax, shares, random)
        ax.set(ylim=(-0.02, 1.02), ylabel=f"Jaccard index with {reference}")
        _finish(figure, ax, title)
    return figure


def _panel(shares: Float[Array, "size"], edges: Sizes, names: Sequence[str]) -> tuple[Figure, Axes]:
    """Return a figure with a panel, with room for a legend of names on its right, and its sizes named."""
    figure = new_figure(_WIDTH + 0.9 + _legend_width(names), max(3.9, LINE * min(len(names), len(LOOKS) + 2) + 1.8))
    ax = figure.subplots()
    room = 1.15 if len(shares) > 1 else 3.0
    ax.set(xscale="log", xlim=(shares[0] / room, shares[-1] * room))
    texts = [f"{100 * share:.3g} %\n{count:,}" for share, count in zip(shares, edges, strict=True)]
    pitch = _TICK_CHARACTER * max(len(line) for text in texts for line in text.splitlines()) + 0.05
    across = _WIDTH * np.log(shares / shares[0]) / max(np.log(shares[-1] / shares[0]), 1e-9)
    named: list[int] = []
    for size in reversed(range(len(shares))):
        if not named or across[named[-1]] - across[size] >= pitch:
            named.append(size)
    ax.set_xticks(shares[named], [texts[size] for size in named], fontsize=_TICK_SIZE)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("share of edges in the circuit, and their number")
    return figure, ax


def _legend_width(names: Sequence[str]) -> float:
    return max(1.2, 0.6 + 0.07 * min(MAX_LEGEND, max(map(len, names), default=0)))


def _draw_methods(ax: Axes, shares: Float[Array, "size"], lines: Sequence[Line], bands: str) -> str:
    """Draw as many curves as have a look of their own, and return what the title has to say about them."""
    shown = lines[: len(LOOKS)]
    for line, (colour, marker) in zip(shown, LOOKS, strict=False):
        _draw_band(ax, shares, line, colour, 0.18)
        ax.plot(shares, line.values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=line.name)
    has_bands = any(np.isfinite(line.low).any() for line in shown)
    return left_out(len(shown), len(lines), "methods", "the first") + (f"\nbands: {bands}" if has_bands else "")


def _draw_grey(ax: Axes, shares: Float[Array, "size"], line: Line) -> None:
    _draw_band(ax, shares, line, _GREY, 0.5)
    ax.plot(shares, line.values, color=_GREY, linestyle="--", linewidth=1.2, label=line.name, zorder=1.5)


def _draw_band(ax: Axes, shares: Float[Array, "size"], line: Line, colour: str, opacity: float) -> None:
    """Draw the intervals of a curve; a value that does not vary, such as that of all edges, has one without width."""
    if np.isfinite(line.low).any():
        low, high = (np.where(np.isfinite(bound), bound, line.values) for bound in (line.low, line.high))
        ax.fill_between(shares, low, high, color=colour, alpha=opacity, linewidth=0, zorder=1)


def _finish(figure: Figure, ax: Axes, title: str) -> None:
    """Explain the curves on the right of the panel, and set the title."""
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.6)
    finish(figure, title, [ax], legend_width=_legend_width([str(line.get_label()) for line in ax.lines]))
