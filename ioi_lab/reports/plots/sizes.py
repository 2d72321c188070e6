"""The size of figures: no side is above `MAX_PIXELS`, and what would not fit is thinned, cut or left out, and said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final
from unicodedata import east_asian_width

import numpy as np
from matplotlib.figure import Figure

MAX_PIXELS: Final = 4000
"""The greatest width and height of a figure."""

DPI: Final = 200
"""Pixels per inch of a figure that is not too large: print quality."""

MAX_INCHES: Final = MAX_PIXELS / DPI

MAX_PANELS: Final = 16
"""The greatest number of panels of a figure: with more, their texts would cover one another."""

LINE: Final = 0.17
"""The height of a line of text, in inches."""

CHARACTER: Final = 0.085
"""The width of a character of a tick, in inches."""

LONGEST_LEVEL: Final = 4
"""Names of more characters on a horizontal axis are slanted."""

MAX_NAME: Final = 24
"""The greatest number of characters of a tick."""

ALL_VALUES: Final = "the run folder has all values"
"""Where to find what a figure leaves out."""


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches, or of the greatest size that is allowed."""
    return Figure(figsize=(min(width, MAX_INCHES), min(height, MAX_INCHES)), layout="constrained")


def pixels_per_inch(figure: Figure) -> float:
    """Return the resolution of a figure: less than `DPI` for one that was not made by `new_figure` and is larger."""
    return min(float(DPI), MAX_PIXELS / float(max(figure.get_size_inches())))


@dataclass(frozen=True)
class Ticks:
    """The ticks of an axis that are drawn: their places and names, and whether they have to be slanted."""

    places: Sequence[int]
    names: Sequence[str]
    slanted: bool = False


def thinned(names: Sequence[str], inches: float, *, upright: bool) -> Ticks:
    """Return as many ticks of an axis, at equal distances, as can be read on some inches.

    `upright`: the axis is vertical, so that names are above one another.
    """
    names = [shortened(name) for name in names]
    longest = max(map(len, names), default=0)
    slanted = not upright and longest > LONGEST_LEVEL
    pitch = LINE if upright or slanted else CHARACTER * longest + 0.06
    step = _round_step(len(names) * pitch / inches)
    return Ticks(range(0, len(names), step), names[::step], slanted)


def spread(total: int, most: int) -> list[int]:
    """Return at most `most` of `total` indices, evenly spread over all of them."""
    chosen: list[int] = np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int)).tolist()
    return chosen


def room_below(names: Sequence[str]) -> float:
    """Return the height that the names of a horizontal axis take in addition to that of numbers, in inches."""
    longest = min(MAX_NAME, max(map(len, names), default=0))
    return 0.87 * CHARACTER * (longest - LONGEST_LEVEL) if longest > LONGEST_LEVEL else 0.0


def room_left(names: Sequence[str]) -> float:
    """Return the width that the names of a vertical axis take in addition to that of numbers, in inches."""
    return CHARACTER * max(0, min(MAX_NAME, max(map(len, names), default=0)) - LONGEST_LEVEL)


def left_out(shown: int, total: int, what: str, which: str) -> str:
    """Return the line of a title that says which of some things are drawn; nothing if all are."""
    return f"\n{shown} of {total:,} {what}, {which}; {ALL_VALUES}" if shown < total else ""


def shortened(text: str, most: int = MAX_NAME) -> str:
    """Return a text in one line of at most `most` characters; characters that cannot be printed are escaped."""
    text = _printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def wrapped(text: str, width: int, most: int = 3) -> str:
    """Return a text with each of its lines broken at `width` characters, into `most` lines at most."""
    if any(east_asian_width(character) in "WF" for character in text):
        width //= 2  # such characters are twice as wide
    width = max(width, 8)
    lines: list[str] = []
    for line in text.splitlines():
        parts = wrap(_printable(line), width, break_on_hyphens=False) or [""]
        lines += parts if len(parts) <= most else [*parts[: most - 1], f"{parts[most - 1][: width - 1]}…"]
    return "\n".join(lines)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _round_step(least: float) -> int:
    """Return the least of 1, 2, 5, 10, 20, … that is not below a number."""
    powers = (1, 10, 100, 1_000, 10_000, 100_000)
    return next(step for power in powers for step in (power, 2 * power, 5 * power) if step >= least)
