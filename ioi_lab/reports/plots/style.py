"""The parts that all figures share: their style and colours, named axes, titles and labels, and the file format."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Self

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.style import context

from ioi_lab.reports.plots.sizes import CHARACTER, LINE, MAX_INCHES, pixels_per_inch, shortened, wrapped

DIVERGING: Final = "RdBu"
SEQUENTIAL: Final = "viridis"
POSITIVE, NEGATIVE, NEUTRAL = "#2166ac", "#b2182b", "#555555"
LOOKS: Final = (
    (POSITIVE, "o"), (NEGATIVE, "^"), ("#e08214", "s"), ("#542788", "D"), ("#1b9e77", "v"), ("#c51b7d", "P"),
    ("#8c510a", "X"), ("#666666", "*"),
)  # fmt: skip
"""The colour and the marker of each group or line, so that they differ without colours too."""

_NARROWEST_TITLE: Final = 14
"""The least number of characters of a line in the title of a panel."""

_CHARACTERS_PER_INCH: Final = 13
"""The number of characters of a title, in its font, per inch."""

_MAX_TOKEN: Final = 9
"""The greatest number of characters of a token that is shown."""

MAX_LEGEND: Final = 40
"""The greatest number of characters of a line in a legend."""

_LINES_WITHOUT_GROWTH: Final = 4
"""A figure is higher by each line of its title and its horizontal label after this many."""

_FONTS: Final = (
    "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "PingFang SC",
    "Hiragino Sans", "Microsoft YaHei", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Arabic",
    "Noto Sans Hebrew", "Noto Emoji", "Arial Unicode MS",
)  # fmt: skip
"""Characters are drawn in the first of these fonts that has them; if none is installed, as a box with their script."""

STYLE: Final[dict[str, Any]] = {
    "font.family": [name for name in _FONTS if name in {font.name for font in fontManager.ttflist}],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 10,
    "text.parse_math": False,  # a token may contain dollar signs
}


_VECTORS: Final[dict[str, Any]] = {"pdf.fonttype": 42, "svg.hashsalt": "ioi-lab"}
"""Fonts of PDF files that editors can read, and names of parts of SVG files that do not differ from run to run."""


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


def distinct(count: int) -> list[str]:
    """Return colours for lines without an order: those of `LOOKS`, then shades."""
    colours = [colour for colour, _ in LOOKS]
    return colours[:count] if count <= len(colours) else shades(count)


def finish(figure: Figure, title: str, panels: Sequence[Axes], legend_width: float = 0.0) -> None:
    """Set the title of a whole figure, and break or cut all texts around its panels to the figure's size.

    A figure with many lines of title and labels becomes higher. `panels`: axes of equal size; further axes of the
    figure are colour scales. `legend_width`: that of the legends on the right of all panels, in inches.
    """
    title = wrapped(title, int(_CHARACTERS_PER_INCH * figure.get_figwidth()), most=5)
    lines = len(title.splitlines())
    for ax in panels:
        grid = ax.get_gridspec()
        assert grid is not None
        names = max((len(name.get_text()) for name in ax.get_yticklabels()), default=0)
        room = (figure.get_figwidth() - legend_width) / grid.ncols - CHARACTER * names - 0.6
        width = int(_CHARACTERS_PER_INCH * room)
        ax.set_xlabel(wrapped(ax.get_xlabel(), width))
        ax.set_title(wrapped(ax.get_title(), max(width, _NARROWEST_TITLE)))
        lines += len(ax.get_xlabel().splitlines()) if ax is panels[-1] else 0
        if (legend := ax.get_legend()) is not None:
            for text in legend.get_texts():
                text.set_text(wrapped(text.get_text(), MAX_LEGEND, most=1))
    more = LINE * max(0, lines - _LINES_WITHOUT_GROWTH)
    figure.set_figheight(min(MAX_INCHES, figure.get_figheight() + more))
    figure.suptitle(title)
    for ax in figure.axes:
        grid = ax.get_gridspec()
        n_rows = grid.nrows if grid is not None and ax in panels else 1
        ax.set_ylabel(wrapped(ax.get_ylabel(), int(_CHARACTERS_PER_INCH * (figure.get_figheight() / n_rows - 1.2))))


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG of print quality, in which no side is above `sizes.MAX_PIXELS`."""
    return image(figure, "png")


def image(figure: Figure, kind: str) -> bytes:
    """Return the figure as a `png`, or with vectors as a `pdf` or an `svg`: the same bytes for the same figure."""
    buffer = BytesIO()
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with context(STYLE | _VECTORS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # a box with their script is drawn
        figure.savefig(buffer, format=kind, dpi=pixels_per_inch(figure), metadata=dates.get(kind))
    return buffer.getvalue()


def visible(token: str) -> str:
    """Return a token as the text of a tick or of a cell: short, without its leading space, and never blank."""
    return shortened(token.strip() or repr(token)[1:-1].replace(" ", "␣"), _MAX_TOKEN)
