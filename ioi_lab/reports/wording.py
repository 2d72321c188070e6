"""The phrases that reports share: numbers, intervals, counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ioi_lab.stats.bootstrap import Estimate, Over

NOT_FOUND: Final = "not distinguishable from 0, corrected for the number of effects"


def test_over(over: Over) -> str:
    """Return how it is decided which of many effects are distinguishable from 0: see `ioi_lab.stats.discoveries`."""
    return f"(t-test over {over}, Benjamini–Hochberg at 5 %)"


def intervals_over(over: Over) -> str:
    """Return what intervals are taken over: `95 % intervals over prompts`."""
    return f"95 % intervals over {over}"


def map_note(*, is_outlined: bool, is_pale: bool) -> str:
    """Return the last line of a map's title: the meaning of outlines and pale cells, of those that it has."""
    notes = ["outlined: the strongest"] if is_outlined else []
    notes += [f"pale, without number: {NOT_FOUND}"] if is_pale else []
    return "\n" + "; ".join(notes) if notes else ""


def number(value: float) -> str:
    """Return a number without trailing zeros and with a typographic minus: `−1.5`."""
    return f"{value:g}".replace("-", "−")


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 prompt`, `3 prompts`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def interval(estimate: Estimate, row: int = 0, form: str = ".2f", factor: float = 1.0) -> str:
    """Return a value with its interval, if that is known: `0.93 [0.90, 0.95]`. `factor` multiplies the numbers.

    Numbers that would all be `0.00` are given more digits: `0.0004 [0.0002, 0.0006]`.
    """
    value, low, high = (factor * part[row] for part in (estimate.value, estimate.low, estimate.high))
    form = _form_that_shows([value, low, high], form)
    bounds = f" [{_fixed(low, form)}, {_fixed(high, form)}]" if np.isfinite(low) else ""
    return f"{_fixed(value, form)}{bounds}"


def _form_that_shows(values: Sequence[float], form: str) -> str:
    """Return a fixed-point format with more digits, seven at most, if the given one shows nothing but zeros."""
    size = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    if not form.endswith("f") or size < 1e-7 or float(f"{size:{form}}") != 0:
        return form
    return f".{-int(np.floor(np.log10(size)))}f"


def _fixed(value: float, form: str) -> str:
    """Return a number in a format, without the sign of one that is 0 in all digits."""
    text = f"{value:{form}}"
    return text if any(digit in text for digit in "123456789") else text.removeprefix("-")


def interval_column(estimate: Estimate, row: int) -> str:
    """Return a value with its interval as in the aligned lists of the terminal: `  0.925   [0.899, 0.953]`."""
    bounds = f"   [{estimate.low[row]:.3f}, {estimate.high[row]:.3f}]" if np.isfinite(estimate.low[row]) else ""
    return f"{estimate.value[row]:7.3f}{bounds}"


def listed(names: Sequence[str], limit: int) -> str:
    """Return names as a list that ends after `limit` of them: `9.9, 9.6 and 3 more`."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def plain(name: str) -> str:
    """Return the name of a config value as words: `mean_difference` → `mean difference`."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """Return a line of the terminal as a sentence: `warning: no effect` → `No effect.`; names stay as they are."""
    for kind in ("warning: ", "note: "):
        text = text.removeprefix(kind)
    first = text.partition(" ")[0].rstrip(",:")
    text = text[0].upper() + text[1:] if first.isalpha() and first.islower() else text
    return text if text.endswith((".", "?", "!")) else f"{text.rstrip(':;')}."


def enumerated(names: Sequence[str]) -> str:
    """Return names as part of a sentence: `9.9, 9.6 and 10.0`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
