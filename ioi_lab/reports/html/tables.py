"""Tables as readers want them: values with their intervals in one column, constants in a sentence, few rows."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.reports.html.page import PageTable

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS: Final = 100
"""The greatest number of rows of a table; the CSV file has all."""

_MAX_CONSTANT: Final = 60
"""The greatest number of characters of a constant that is named in the sentence about constants."""


@dataclass(frozen=True)
class ShownColumn:
    """The heading of a column."""

    name: str
    is_number: bool


@dataclass(frozen=True)
class ShownTable:
    """A table in text."""

    columns: list[ShownColumn]
    rows: list[list[str]]
    notes: list[str]
    """Sentences: columns with the same value in all rows, what brackets mean, and where the other rows are."""


def shown(table: PageTable) -> ShownTable:
    """Return a table with values and their bounds in one column, without empty columns and without constant ones."""
    data = table.data
    names = [str(name) for name in data]
    intervals = [name for name in names if {f"{name}_low", f"{name}_high"} <= set(names)]
    bounds = {f"{name}_{bound}" for name in intervals for bound in ("low", "high")}
    kept = [name for name in names if name not in bounds and data[name].notna().any()]
    constants = [name for name in kept if len(data) > 1 and _is_constant(data[name]) and name not in intervals]
    kept = [name for name in kept if name not in constants] or kept
    head = data.head(MAX_ROWS)
    columns = [
        _with_bounds(head, name) if name in intervals else [cell(value) for value in head[name]] for name in kept
    ]
    notes = (
        [f"In all rows: {', '.join(f'{name} = {cell(data[name].iloc[0])}' for name in constants)}."]
        if constants
        else []
    )
    if any(_has_bounds(data, name) for name in intervals):
        notes.append("Brackets are 95 % intervals.")
    notes += _cut(len(data), table.file)
    return ShownTable(
        [ShownColumn(name, _is_number(data[name])) for name in kept],
        [list(row) for row in zip(*columns, strict=True)],
        notes,
    )


def cell(value: Any) -> str:
    """Return a cell as text: three digits of a number, nothing for a missing value."""
    import pandas as pd

    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, bool | Integral) or not isinstance(value, Real):
        return str(value)
    return f"{float(value):.3g}".replace("-", "−")


def _with_bounds(data: pd.DataFrame, name: str) -> list[str]:
    rows = zip(*(data[column] for column in (name, f"{name}_low", f"{name}_high")), strict=True)
    return [f"{cell(value)} [{cell(low)}, {cell(high)}]" if cell(low) else cell(value) for value, low, high in rows]


def _has_bounds(data: pd.DataFrame, name: str) -> bool:
    return bool(data[f"{name}_low"].notna().any())


def _is_constant(column: pd.Series[Any]) -> bool:
    return column.nunique(dropna=False) == 1 and len(str(column.iloc[0])) <= _MAX_CONSTANT


def _is_number(column: pd.Series[Any]) -> bool:
    return column.dtype.kind in "iuf"


def _cut(n_rows: int, file: str) -> list[str]:
    if n_rows <= MAX_ROWS:
        return []
    where = f"; {file} in the run folder has all of them" if file else ""
    return [f"The first {MAX_ROWS} of {n_rows:,} rows{where}."]
