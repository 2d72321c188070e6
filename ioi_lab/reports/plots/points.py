"""Points in groups, such as the prompts of two names or the subsets of a circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.style import context

from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, STYLE, set_title
from ioi_lab.stats.metrics import Array

Group = tuple[Float[Array, "point"], Float[Array, "point"]]
"""The x and y values of some points."""

_LOOKS: Final = ((POSITIVE, "o"), (NEGATIVE, "^"), ("#e08214", "s"), ("#542788", "D"))
"""The colour and the marker of each group, so that groups differ without colours too."""


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
        figure = Figure(figsize=(1.2 + 3.4 * len(panels), 3.9), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for ax, (name, groups) in zip(axes, panels.items(), strict=True):
            for (label, (x, y)), (colour, marker) in zip(groups.items(), _LOOKS, strict=False):
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
        set_title(figure, title)
    return figure
