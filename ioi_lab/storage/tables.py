"""Tables as CSV files, which people open in spreadsheets: no cell of text is taken for a formula there.

A spreadsheet evaluates a text that begins with one of `=+-@`, a tab or a line end, and prompts, tokens and names may be
anybody's. Such texts are written with an apostrophe in front, and read back without it. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""What a spreadsheet may evaluate, also by its full-width forms, and what has an apostrophe in front already."""

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf")

_OF_TEXT: Final = ("object", "str", "string")


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as UTF-8 CSV without its index, as `read_table` reads it."""
    columns = [_cells(column) for _, column in table.items()]
    file = io.StringIO()
    writer = csv.writer(
        file, lineterminator="\n"
    )  # `to_csv` writes the same, and takes ten times as long if rows are few
    writer.writerow([_escaped(name) for name in table.columns])
    writer.writerows(zip(*columns, strict=True))
    text = file.getvalue()
    if "\r" in text:  # readers take it for the end of a row if it is without quotes
        escaped = _with_texts(table.rename(columns=_escaped), _escaped)
        text = escaped.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text.encode()


def _cells(column: pd.Series[Any]) -> list[Any]:
    """Return what is written of a column: missing values are empty, and texts are escaped."""
    values, kind = column.tolist(), str(column.dtype)
    if kind in ("int64", "bool"):
        return values
    if kind == "float64":
        return ["" if value != value else value for value in values]
    if kind not in _OF_TEXT:
        missing = column.isna().tolist()
        texts = column.astype(str).tolist()
        return ["" if is_missing else text for is_missing, text in zip(missing, texts, strict=True)]
    return [_escaped(value) if isinstance(value, str) else "" if _is_missing(value) else value for value in values]


def _is_missing(value: Any) -> bool:
    from pandas import NA

    return value is None or value is NA or value != value


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
