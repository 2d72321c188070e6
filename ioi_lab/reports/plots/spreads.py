"""Single values next to the samples that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from ioi_lab.reports.plots.sizes import left_out, new_figure, wrapped
from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, STYLE, finish
from ioi_lab.stats.metrics import Array

_PALE: Final = 0.3
_NAME_WIDTH: Final = 26
_NOTE_WIDTH: Final = 100
_MAX_ROWS: Final = 40
_MAX_NOTES: Final = 12
"""The greatest number of lines of all notes."""

_JITTER: Final = 0.28
"""The greatest distance of a point from the middle of its row, so that points do not cover one another."""


@dataclass(frozen=True)
class Marked:
    """A value that is compared with samples; bounds are NaN if they are unknown."""

    name: str
    value: float
    low: float
    high: float
    is_pale: bool = False
    """Whether the value shows no effect."""


@dataclass(frozen=True)
class Samples:
    """The values of one kind of control."""

    name: str
    values: Float[Array, "sample"]
    threshold: float | None = None
    """The value that has to be exceeded; None if it is the largest one."""


def spreads(
    marked: Sequence[Marked], samples: Sequence[Samples], value_label: str, title: str, notes: Sequence[str] = ()
) -> Figure:
    """Draw a row per marked value and a row of points per kind of samples, on one axis of values.

    Args:
        marked: The values, the first of which is continued through all rows, as a line in its interval.
        samples: The controls; a red stroke marks the threshold of each kind.
        value_label: The label of the axis.
        title: The title of the figure.
        notes: Lines below the axis, which are wrapped.

    """
    lines = [line for note in notes for line in wrapped(note, _NOTE_WIDTH, most=4).splitlines()][:_MAX_NOTES]
    n_rows = len(marked) + len(samples)
    marked, samples = marked[:_MAX_ROWS], samples[: max(0, _MAX_ROWS - len(marked))]
    names = [row.name for row in marked] + [row.name for row in samples]
    names = [wrapped(name, _NAME_WIDTH, most=2) for name in names]
    with context(STYLE):
        height = 0.42 * len(names) + 0.16 * len(lines) + 0.18 * len(title.splitlines()) + 0.8
        figure = new_figure(6.2, height)
        ax = figure.subplots()
        ax.axvline(0, color=NEUTRAL, linewidth=0.8, linestyle=":")
        _continue(ax, marked[0])
        for place, value in enumerate(marked):
            _draw_marked(ax, value, place)
        for place, sample in enumerate(samples, start=len(marked)):
            _draw_samples(ax, sample, place)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlabel(value_label)
        figure.supxlabel("\n".join(lines), fontsize=8)
        finish(figure, title + left_out(len(names), n_rows, "rows", "the first"), [ax])
    return figure


def _continue(ax: Axes, value: Marked) -> None:
    alpha = _PALE if value.is_pale else 1.0
    ax.axvline(value.value, color=POSITIVE, linewidth=0.8, linestyle="--", alpha=alpha)
    if np.isfinite(value.low):
        ax.axvspan(value.low, value.high, color=POSITIVE, alpha=0.12 * alpha, linewidth=0)


def _draw_marked(ax: Axes, value: Marked, place: int) -> None:
    alpha = _PALE if value.is_pale else 1.0
    if np.isfinite(value.low):
        ax.plot([value.low, value.high], [place, place], color=POSITIVE, alpha=alpha, linewidth=2)
    ax.plot([value.value], [place], "o", color=POSITIVE, alpha=alpha, markersize=6)


def _draw_samples(ax: Axes, sample: Samples, place: int) -> None:
    heights = place + _JITTER * np.random.default_rng(0).uniform(-1, 1, len(sample.values))
    ax.scatter(sample.values, heights, s=9, color=NEUTRAL, alpha=0.6, linewidths=0)
    threshold = float(sample.values.max()) if sample.threshold is None else sample.threshold
    ax.plot([threshold, threshold], [place - 0.4, place + 0.4], color=NEGATIVE, linewidth=1.6)
