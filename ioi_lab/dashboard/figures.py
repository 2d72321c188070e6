"""What the figures of plotly share: style, colours, texts. All texts of runs pass through `plain`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from plotly.graph_objects import Figure

from ioi_lab.stats.metrics import Array

DIVERGING: Final = "RdBu"
SEQUENTIAL: Final = "Viridis"
POSITIVE, NEGATIVE, NEUTRAL = "#2166ac", "#b2182b", "#555555"
COLOURS: Final = ("#2166ac", "#e08214", "#1b9e77", "#c51b7d", "#542788", "#8c510a", "#b2182b", "#666666")
"""Colours of lines and runs, in their order, as in the figures of run folders."""

SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
ABOVE: Final[dict[str, Any]] = {"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right", "yanchor": "bottom"}
"""The place of a legend above the right end of a figure."""

_LEAST: Final = 0.1
"""The colours of a map of effects end here at least, so that a map of next to nothing is pale."""


def plain(text: object) -> str:
    """Return a text for a figure: plotly takes `<b>` and `<a>` for markup."""
    return html.escape(str(text), quote=False)


def styled(figure: Figure, title: str = "", height: int = 420, **layout: Any) -> Figure:
    """Return a figure in the style of the dashboard."""
    figure.update_layout(
        template="plotly_white",
        title={"text": plain(title).replace("\n", "<br>"), "font": {"size": 15}, "x": 0.01, "xanchor": "left"},
        height=height,
        margin={"l": 60, "r": 20, "t": 60 if title else 20, "b": 50},
        font={"family": "system-ui, sans-serif", "size": 12.5, "color": "#1f2933"},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": "#1f2933"}},
        **layout,
    )
    return figure


def colour_scale(values: Float[Array, "*cell"], null: float | None) -> dict[str, Any]:
    """Return the colour axis of values: diverging around the value of no effect, or around 0 if some are negative.

    Values that are levels without a sign, such as shares, get a scale from 0 upwards.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if null is None and low >= 0:
        return {"colorscale": SEQUENTIAL, "cmin": 0.0, "cmax": high or 1.0}
    middle = null or 0.0
    reach = max(high - middle, middle - low, _LEAST if null is not None else 0.0) or 1.0
    return {"colorscale": DIVERGING, "cmin": middle - reach, "cmax": middle + reach}


def band(x: Sequence[Any], low: Sequence[float], high: Sequence[float], colour: str, **more: Any) -> dict[str, Any]:
    """Return the trace of an interval along a line: a band without a legend entry."""
    return {
        "type": "scatter",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.18,
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
    } | more


def words(name: str) -> str:
    """Return the name of a metric or a column as words: `logit_diff` → `logit difference`."""
    return name.replace("logit_diff", "logit_difference").replace("_", " ")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a hover text, with a typographic minus; nothing for NaN."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:.{digits}g}".replace("-", "−")


def bounds(low: float, high: float) -> str:
    """Return an interval: ` [0.89, 0.99]`; nothing if it is unknown."""
    return f" [{number(low)}, {number(high)}]" if np.isfinite(low) and np.isfinite(high) else ""
