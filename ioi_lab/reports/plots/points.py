"""Points, labelled one by one or in groups, such as the prompts of two names or the subsets of a circuit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from ioi_lab.reports.plots.sizes import MAX_PANELS, left_out, new_figure, shortened
from ioi_lab.reports.plots.style import LOOKS, NEUTRAL, POSITIVE, STYLE, finish
from ioi_lab.stats.metrics import Array

Group = tuple[Float[Array, "point"], Float[Array, "point"]]
"""The x and y values of some points."""

_PANELS_PER_ROW: Final = 5
_MAX_NAMED: Final = 24
"""With more names than this per axis, they would cover one another."""


def scatter(
    x: Float[Array, "point"],
    y: Float[Array, "point"],
    labels: Sequence[str],
    x_label: str,
    y_label: str,
    title: str,
    named: int = 5,
    line: str | None = None,
    from_zero: bool = False,
) -> Figure:
    """Draw points, and label the `named` points that are farthest from 0 along either axis.

    `line`: the name of the line x = y, which is drawn if it has one. `from_zero`: the x axis includes 0.
    """
    with context(STYLE):
        figure = new_figure(4.6, 4.4)
        ax = figure.subplots()
        if line:
            low, high = min(x.min(), y.min()), max(x.max(), y.max())
            ax.plot([low, high], [low, high], color=NEUTRAL, linewidth=0.8, linestyle="--", label=line)
            ax.legend(frameon=False, loc="upper left")
        else:
            ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
        if from_zero:
            ax.axvline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
        _draw_points(ax, x, y, labels, named)
        ax.set(xlabel=x_label, ylabel=y_label)
        finish(figure, title, [ax])
    return figure


def scatter_panels(
    panels: Mapping[str, tuple[Float[Array, "point"], Float[Array, "point"]]],
    labels: Sequence[str],
    x_label: str,
    y_label: str,
    title: str,
    named: int = 5,
) -> Figure:
    """Draw the same points under several conditions next to each other, with shared axes, and label them as `scatter`.

    `panels`: the x and y values of the points by the title of their panel.
    """
    with context(STYLE):
        figure, axes, title = _panels(len(panels), (3.7, 4.2), title)
        for ax, (name, (x, y)) in zip(axes, panels.items(), strict=False):
            ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
            ax.scatter(x, y, s=0)  # all panels set the shared limits before names are placed
            ax.set_title(name)
            ax.set_xlabel(x_label)
        for ax, (x, y) in zip(axes, panels.values(), strict=False):
            _draw_points(ax, x, y, labels, named)
        axes[0].set_ylabel(y_label)
        finish(figure, title, axes)
    return figure


def _panels(count: int, size: tuple[float, float], title: str) -> tuple[Figure, Sequence[Axes], str]:
    """Return a figure with panels of about a size, in rows, and its title, which says whether some are left out."""
    shown = min(count, MAX_PANELS)
    n_columns = min(shown, _PANELS_PER_ROW)
    n_rows = -(-shown // n_columns)
    figure = new_figure(1.0 + size[0] * n_columns, size[1] * n_rows)
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).flatten().tolist()
    for ax in axes[shown:]:
        ax.set_visible(False)
    return figure, axes[:shown], title + left_out(shown, count, "panels", "the first")


def _draw_points(
    ax: Axes, x: Float[Array, "point"], y: Float[Array, "point"], labels: Sequence[str], named: int
) -> None:
    """Draw points, and label those that are farthest from 0 along either axis."""
    ax.scatter(x, y, color=POSITIVE, s=14, alpha=0.7, linewidths=0)
    ax.margins(0.12, 0.08)
    named = min(named, _MAX_NAMED)
    outermost = [np.argsort(-np.abs(values), kind="stable")[:named].tolist() for values in (x, y)]
    _name_points(ax, {shortened(labels[point]): (x[point], y[point]) for points in outermost for point in points})


def _name_points(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each point's name next to the point, if possible without covering another name."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    taken: list[tuple[float, float]] = []
    for name, (x, y) in points.items():
        across, up = (x - left) / (right - left), (y - bottom) / (top - bottom)
        free = [
            (side, rise)
            for side, rise in ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 3), (1, -3), (-1, 3), (-1, -3))
            if all(abs(across + side * 0.06 - a) > 0.11 or abs(up + rise * 0.025 - b) > 0.04 for a, b in taken)
        ]
        side, rise = free[0] if free else (1, 1)
        taken.append((across + side * 0.06, up + rise * 0.025))
        ax.annotate(
            name,
            (x, y),
            xytext=(5 * side, 7 * rise),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=8,
        )


def grouped_scatter(
    panels: Mapping[str, Mapping[str, Group]], x_label: str, y_label: str, title: str, line: str | None = None
) -> Figure:
    """Draw groups of points in panels next to each other, with shared axes and one legend.

    Args:
        panels: The groups of each panel by the name of the panel; all panels have the same groups, at most four.
        x_label: The label of the x axis.
        y_label: The label of the y axis.
        title: The title of the figure.
        line: The name of the line x = y, which is drawn if it has one; else the line y = 0 is.

    """
    with context(STYLE):
        figure, axes, title = _panels(len(panels), (3.4, 3.9), title)
        for ax, (name, groups) in zip(axes, panels.items(), strict=False):
            for (label, (x, y)), (colour, marker) in zip(groups.items(), LOOKS, strict=False):
                ax.scatter(x, y, s=20, color=colour, marker=marker, alpha=0.7, linewidths=0, label=label)
            ax.set_title(name)
            ax.set_xlabel(x_label)
        for ax in axes:
            if line:
                ends = [min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])]
                ax.plot(ends, ends, color=NEUTRAL, linewidth=0.8, linestyle="--", label=line)
            else:
                ax.axhline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
        axes[0].set_ylabel(y_label)
        axes[-1].legend(frameon=False, loc="best")
        finish(figure, title, axes)
    return figure
