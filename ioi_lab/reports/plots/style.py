"""What all figures share: style, colours, axes with names, and how a figure becomes a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import wrap
from typing import Any, Final, Self

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.style import context
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIVERGING: Final = "RdBu"
SEQUENTIAL: Final = "viridis"
INTERVAL: Final = "95 % bootstrap intervals over prompts"
POSITIVE, NEGATIVE, NEUTRAL = "#2166ac", "#b2182b", "#555555"
_CHARACTERS_PER_INCH: Final = 13
"""Of a title, in its font."""

STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 10,
    "text.parse_math": False,  # a token may hold dollar signs
}


@dataclass(frozen=True)
class Axis:
    """What an axis is and the names of its ticks, which stand side by side or, along lines, at `places`."""

    label: str
    ticks: Sequence[str]
    places: Sequence[float] | None = None

    @classmethod
    def numbered(cls, label: str, count: int) -> Self:
        """With ticks from 0 to `count` − 1."""
        return cls(label, [str(number) for number in range(count)])


def plain_number(value: float, _: float = 0) -> str:
    """A tick of a logarithmic axis, without the mathematical markup that tokens forbid."""
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e−").replace("e-", "e−")


def shades(count: int) -> list[str]:
    """Colours in the order of the lines that they are for, dark to light, all of them visible on white."""
    colours = colormaps[SEQUENTIAL](np.linspace(0.0, 0.85, count))
    return [to_hex(colour) for colour in colours]


def set_title(figure: Figure, title: str) -> None:
    """Above everything, each line in as many as fit the figure's width."""
    most = int(_CHARACTERS_PER_INCH * figure.get_figwidth())
    figure.suptitle("\n".join(part for line in title.splitlines() for part in wrap(line, most, break_on_hyphens=False)))


def png(figure: Figure) -> bytes:
    """The figure as a PNG of print quality."""
    buffer = BytesIO()
    with context(STYLE):
        figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def visible(token: str) -> str:
    """A token as a tick or in a cell: short, without its leading space, and never blank."""
    text = token.strip() or repr(token)[1:-1].replace(" ", "␣")
    return text if len(text) <= 9 else f"{text[:8]}…"
