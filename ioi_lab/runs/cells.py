"""Measurements on the axes of a figure: the mean over seeds of each combination of values, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.runs.axes import Axes
from ioi_lab.runs.measurements import Measurements
from ioi_lab.stats.discoveries import FALSE_DISCOVERY_RATE, adjusted
from ioi_lab.stats.metrics import Array

_CONFIDENCE: Final = 0.975
"""The quantile of the upper bounds of 95 % intervals."""


@dataclass(frozen=True)
class Cell:
    """The value of one combination of the axes' values."""

    value: float
    low: float
    high: float
    p_value: float
    """Whether the value differs from 0: corrected within its run, or by Student's t over seeds; NaN if unknown."""

    of_seeds: tuple[float, ...] = ()
    """The values of all seeds, if there are several."""


@dataclass(frozen=True)
class Cells:
    """All cells of a figure."""

    x: Sequence[Any]
    """The values along the x axis."""

    lines: Sequence[Any]
    """The values with a line each; [None] without such a key."""

    facets: Sequence[tuple[Any, ...]]
    """The combinations of values with a panel each."""

    cells: dict[tuple[Any, Any, tuple[Any, ...]], Cell]
    n_seeds: tuple[int, int] = (1, 1)
    """The least and the greatest number of seeds of a cell."""

    seeds: Sequence[str] = field(default_factory=tuple)

    def array(self, part: str, line: Any, facet: tuple[Any, ...]) -> Float[Array, "x"]:
        """Return a part (`value`, `low`, `high`) of the cells along the x axis; NaN without a cell."""
        found = [self.cells.get((x, line, facet)) for x in self.x]
        return np.array([np.nan if cell is None else float(getattr(cell, part)) for cell in found])

    def not_found(self) -> set[tuple[Any, Any, tuple[Any, ...]]] | None:
        """Return the cells whose value is not distinguishable from 0, corrected for their number; None if unknown."""
        known = {key: cell.p_value for key, cell in self.cells.items() if np.isfinite(cell.p_value)}
        if not known:
            return None
        is_found = adjusted(np.array(list(known.values()))) < FALSE_DISCOVERY_RATE
        return set(self.cells) - {key for key, found in zip(known, is_found, strict=True) if found}


def cells_of(measured: Measurements, axes: Axes) -> Cells:
    """Return the cells of measurements on some axes."""
    table = measured.table[np.isfinite(measured.table["value"])]
    seeds = [seed for seed in measured.replicates if seed not in axes.keys]
    groups: dict[tuple[Any, Any, tuple[Any, ...]], list[dict[str, float]]] = {}
    for row in table.to_dict("records"):
        facet = tuple(row[key] for key in axes.facet)
        where = (row[axes.x] if axes.x else None, row[axes.line] if axes.line else None, facet)
        groups.setdefault(where, []).append({name: float(row[name]) for name in ("value", "low", "high", "p_adjusted")})
    if all(_is_one(group) for group in groups.values()):  # the seeds change nothing, so that they are no replicates
        seeds = []
    counts = [len(group) for group in groups.values()]
    facets = list(product(*(measured.values(key) for key in axes.facet)))
    present = {facet for *_, facet in groups}
    return Cells(
        measured.values(axes.x) if axes.x else [None],
        measured.values(axes.line) if axes.line else [None],
        [facet for facet in facets if facet in present],
        {where: _cell(group) for where, group in groups.items()},
        (min(counts, default=1), max(counts, default=1)) if seeds else (1, 1),
        seeds,
    )


def _cell(group: Sequence[dict[str, float]]) -> Cell:
    """Return the cell of one value with its own interval, or of several, with Student's interval of their mean.

    Several that are the same have the interval of one: their spread, which is 0, says nothing of how sure they are.
    """
    if _is_one(group):
        only = group[0]
        return Cell(only["value"], only["low"], only["high"], only["p_adjusted"])
    from scipy.special import stdtr, stdtrit

    values = np.array([each["value"] for each in group])
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(stdtrit(len(values) - 1, _CONFIDENCE)) * error
    p_value = float(2 * stdtr(len(values) - 1, -abs(mean) / error))
    return Cell(mean, mean - half, mean + half, p_value, tuple(values.tolist()))


def _is_one(group: Sequence[dict[str, float]]) -> bool:
    """Return whether all values are the same."""
    return len({each["value"] for each in group}) == 1
