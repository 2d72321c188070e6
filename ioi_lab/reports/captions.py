"""The sentences that captions of figures share: what colours, pale cells, outlines and intervals mean."""

from __future__ import annotations

from typing import Final

from ioi_lab.reports.wording import intervals_over, test_over
from ioi_lab.stats.bootstrap import Over

DIVERGING: Final = "Blue is above 0, red below 0, and white is 0; the numbers in the cells are the values."
OUTLINED: Final = "The strongest of those that are found, at most three, have an outline."
SHARES: Final = "The lighter the cell, the larger the value."
RANKED: Final = "Bars go from the largest value to the smallest, in either direction."


def pale(over: Over) -> str:
    """Return what pale cells and bars mean."""
    return f"What is pale is not distinguishable from 0 {test_over(over)}, corrected for the number of effects."


def bars(over: Over) -> str:
    """Return what the lines at the ends of bars, or around points, are."""
    return f"The thin lines are {intervals_over(over)}."


def bands(over: Over) -> str:
    """Return what the bands around lines are."""
    return f"Bands are {intervals_over(over)}."


def joined(*sentences: str) -> str:
    """Return sentences as a caption, without empty ones."""
    return " ".join(filter(None, sentences))
