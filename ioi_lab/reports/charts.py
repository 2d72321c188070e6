"""Charts as data: which columns of a run's tables are curves, rankings or maps. Dashboards draw them by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    import pandas as pd

RESULTS: Final = "results"
MAX_LINES: Final = 30
"""The greatest number of lines of a chart: those whose values differ most."""

MAX_BARS: Final = 25
"""The greatest number of bars of a ranking: the longest."""


@dataclass(frozen=True)
class Curves:
    """A column along another one, with a line per combination of further columns."""

    name: str
    along: str
    """The column of the steps: a scale, a layer or a position. Texts are numbered in their order."""

    value: str
    by: tuple[str, ...] = ()
    """Columns that tell lines apart; those that have one value only do not appear in the lines' names."""

    only: Mapping[str, str] = field(default_factory=dict)
    """The values of further columns in the rows that count."""

    table: str = RESULTS
    kind: Literal["curves"] = "curves"


@dataclass(frozen=True)
class Ranking:
    """The rows with the largest values, in either direction."""

    name: str
    value: str
    by: tuple[str, ...]
    """Columns that name a row."""

    table: str = RESULTS
    kind: Literal["ranking"] = "ranking"


@dataclass(frozen=True)
class Map:
    """A column by two others."""

    name: str
    value: str
    rows: str
    columns: str
    table: str = RESULTS
    kind: Literal["map"] = "map"


Chart = Curves | Ranking | Map
_CHART: Final = TypeAdapter[Chart](Annotated[Chart, Field(discriminator="kind")])


@dataclass(frozen=True)
class Line:
    """A line of a chart: its values by step, with their bounds; NaN where there are none."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def as_data(charts: Sequence[Chart]) -> dict[str, Any]:
    """Return the charts as they are written to `charts.json`."""
    return {"charts": [_CHART.dump_python(chart, mode="json") for chart in charts]}


def from_data(data: Mapping[str, Any]) -> list[Chart]:
    """Return the charts in the content of `charts.json`; what is no chart is left out, as in runs of later versions."""
    charts, entries = [], data.get("charts")
    for entry in entries if isinstance(entries, list) else []:
        with suppress(ValidationError):
            charts.append(_CHART.validate_python(entry))
    return charts


def lines_of(chart: Curves, table: pd.DataFrame) -> list[Line]:
    """Return the lines of a chart in the order of the table; none if the table lacks a column, or has one step only.

    The only line is named after its column, so that runs with one line each, such as those of a layer, share a chart.
    """
    if not {chart.along, chart.value, *chart.only} <= set(table):
        return []
    for column, wanted in chart.only.items():
        table = table[table[column] == wanted]
    steps = _numbers(table[chart.along])
    if len(set(steps[np.isfinite(steps)])) < 2:
        return []
    names = np.array(_names(table, chart.by, chart.value))
    columns = [_column(table, f"{chart.value}{bound}") for bound in ("", "_low", "_high")]
    lines = []
    for name in dict.fromkeys(names.tolist()):
        rows = np.flatnonzero((names == name) & np.isfinite(steps))
        rows = rows[np.argsort(steps[rows], kind="stable")]
        lines.append(Line(name, steps[rows].tolist(), *(column[rows].tolist() for column in columns)))
    widest = sorted(lines, key=lambda line: -_range(line.values))[:MAX_LINES]
    kept = {line.name for line in widest}
    return [line for line in lines if line.name in kept]


def bars_of(chart: Ranking, table: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the names and the values of a ranking's bars, the largest value first in size."""
    if chart.value not in table:
        return []
    bars = zip(_names(table, chart.by, chart.value), _column(table, chart.value).tolist(), strict=True)
    known = [(name, value) for name, value in bars if value == value]
    return sorted(known, key=lambda bar: -abs(bar[1]))[:MAX_BARS]


def cells_of(chart: Map, table: pd.DataFrame) -> pd.DataFrame | None:
    """Return a map as a table, its rows in the first column; None if cells are missing, or several in one place.

    Rows of the table without a place in the map, such as those of MLPs in one of heads, are left out.
    """
    axes = [chart.rows, chart.columns]
    if not {chart.value, *axes} <= set(table):
        return None
    table = table.dropna(subset=axes)
    if table.duplicated(axes).any():
        return None
    cells = table.pivot(index=chart.rows, columns=chart.columns, values=chart.value)
    if cells.isna().any(axis=None) or min(cells.shape) < 2:
        return None
    return cells.rename(columns=lambda name: f"{chart.columns} {name}").reset_index()


def _names(table: pd.DataFrame, by: Sequence[str], value: str) -> list[str]:
    """Return the name of each row: `layer 3 head 2`, of the columns that differ; `value` if none do."""
    differing = [column for column in by if column in table and table[column].nunique() > 1]
    if not differing:
        return [value] * len(table)
    rows = zip(*(table[column].astype(object) for column in differing), strict=True)
    return [" ".join(filter(None, map(_case, differing, row))) or value for row in rows]


def _case(column: str, cell: Any) -> str:
    """Return what a cell adds to the name of its row: `layer 3`, or a text as it is; nothing if it is empty."""
    if isinstance(cell, str):
        return cell
    return f"{column} {cell:g}" if isinstance(cell, Real) and cell == cell else ""


def _numbers(column: pd.Series[Any]) -> Array:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan)
    places = {text: float(place) for place, text in enumerate(column.dropna().unique())}
    return column.map(places).to_numpy(dtype=float, na_value=np.nan)


def _column(table: pd.DataFrame, name: str) -> Array:
    return table[name].to_numpy(dtype=float, na_value=np.nan) if name in table else np.full(len(table), np.nan)


def _range(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return max(finite) - min(finite) if finite else -1.0
