"""The parts that all figures share: their style and colours, named axes, titles, and the file format."""

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

DIVERGING: Final = "RdBu"
SEQUENTIAL: Final = "viridis"
POSITIVE, NEGATIVE, NEUTRAL = "#2166ac", "#b2182b", "#555555"
_CHARACTERS_PER_INCH: Final = 13
"""The number of characters of a title, in its font, per inch."""

_MAX_TOKEN: Final = 9
"""The greatest number of characters of a token that is shown."""

STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 10,
    "text.parse_math": False,  # a token may contain dollar signs
}


@dataclass(frozen=True)
class Axis:
    """The label of an axis and the names of its ticks."""

    label: str
    ticks: Sequence[str]
    places: Sequence[float] | None = None
    """The positions of the ticks along an axis of lines; None for ticks at equal distances."""

    @classmethod
    def numbered(cls, label: str, count: int) -> Self:
        """Return an axis with ticks from 0 to `count` − 1."""
        return cls(label, [str(number) for number in range(count)])


def plain_number(value: float, _: float = 0) -> str:
    """Return a tick of a logarithmic axis, without mathematical markup, which tokens do not allow (see `STYLE`)."""
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e−").replace("e-", "e−")


def shades(count: int) -> list[str]:
    """Return colours for the lines of a panel, in their order: from dark to light, all visible on white."""
    colours = colormaps[SEQUENTIAL](np.linspace(0.0, 0.85, count))
    return [to_hex(colour) for colour in colours]


def set_title(figure: Figure, title: str) -> None:
    """Set the title of a whole figure, with its lines wrapped to the figure's width."""
    width = int(_CHARACTERS_PER_INCH * figure.get_figwidth())
    lines = [part for line in title.splitlines() for part in wrap(line, width, break_on_hyphens=False)]
    figure.suptitle("\n".join(lines))


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG of print quality."""
    buffer = BytesIO()
    with context(STYLE):
        figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def visible(token: str) -> str:
    """Return a token as the text of a tick or of a cell: short, without its leading space, and never blank."""
    text = token.strip() or repr(token)[1:-1].replace(" ", "␣")
    return text if len(text) <= _MAX_TOKEN else f"{text[: _MAX_TOKEN - 1]}…"
