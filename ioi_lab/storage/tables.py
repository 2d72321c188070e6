"""Tables as CSV files, which people open in spreadsheets: no cell of text is taken for a formula there.

A spreadsheet evaluates a text that begins with one of `=+-@`, a tab or a line end, and prompts, tokens and names may be
anybody's. Such texts are written with an apostrophe in front, and read back without it. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    Column = Sequence[Any] | np.ndarray[Any, Any]
    """The cells of a column, from the first row to the last."""

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""What a spreadsheet may evaluate, also by its full-width forms, and what has an apostrophe in front already."""

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf")

_FLOAT: Final = np.dtype("float64")
_EXACT: Final = (np.dtype("int64"), np.dtype("bool"))
_ANYTHING: Final = np.dtype(object)
_OF_TEXT: Final = ("object", "str", "string")


def csv_bytes(table: pd.DataFrame | Mapping[str, Column]) -> bytes:
    """Return a table, or its columns by name, as UTF-8 CSV without an index, as `read_table` reads it.

    Columns by name are written in a fifth of the time that it takes to make a short `DataFrame` and write that.
    """
    columns = [_cells(column) for _, column in table.items()]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")  # `to_csv` writes the same; with few rows it takes ten times as long
    writer.writerow([_escaped(name) for name in table])
    writer.writerows(zip(*columns, strict=True))
    text = file.getvalue()
    if "\r" in text:  # readers take it for the end of a row if it is without quotes
        import pandas as pd

        escaped = _with_texts(pd.DataFrame(table).rename(columns=_escaped), _escaped)
        text = escaped.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text.encode()


def _cells(column: pd.Series[Any] | Column) -> list[Any]:
    """Return what is written of a column: missing values are empty, and texts are escaped."""
    import pandas as pd

    kind = getattr(column, "dtype", _ANYTHING)
    values = column.tolist() if isinstance(column, pd.Series | np.ndarray) else list(column)
    if kind in _EXACT:
        return values
    if kind == _FLOAT:
        return ["" if value != value else value for value in values]
    if kind != _ANYTHING and str(kind) not in (*_OF_TEXT, "Int64"):
        texts = pd.Series(column).astype(str)
        values = texts.where(pd.Series(column).notna(), None).tolist()
    return [_cell(value, pd.NA) for value in values]


def _cell(value: Any, missing: object) -> Any:
    if isinstance(value, str):
        return _escaped(value)
    return "" if value is None or value is missing or value != value else value


def read_table(path: Path, *, as_text: bool = False) -> pd.DataFrame:
    """Return a table of `csv_bytes`; `as_text`: all cells as they are written, none as numbers or missing.

    Raises an `OSError` or a `ValueError` if it cannot be read.
    """
    import pandas as pd

    table = pd.read_csv(path, keep_default_na=False, dtype=str) if as_text else pd.read_csv(path)
    return _with_texts(table.rename(columns=unescaped), unescaped)


def _with_texts(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    """Return the table with a function applied to its cells of text."""
    changed: pd.DataFrame = table.apply(lambda column: column.map(change) if str(column.dtype) in _OF_TEXT else column)
    return changed


def _escaped(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def unescaped(cell: Any) -> Any:
    """Return a cell without the apostrophe that `csv_bytes` has put in front of it."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell
