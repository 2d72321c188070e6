"""Tables as CSV files, which people open in spreadsheets: no cell of text is taken for a formula there.

A spreadsheet evaluates a text that begins with one of `=+-@`, a tab or a line end, and prompts, tokens and names may be
anybody's. Such texts are written with an apostrophe in front, and read back without it. Numbers stay numbers.
"""

from __future__ import annotations

import csv
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
    escaped = _with_texts(table.rename(columns=_escaped), _escaped)
    text = escaped.to_csv(index=False)
    if "\r" in text:  # pandas leaves it without quotes, and readers take it for the end of a row
        text = escaped.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text.encode()


def read_table(path: Path, *, as_text: bool = False) -> pd.DataFrame:
    """Return a table of `csv_bytes`; `as_text`: all cells as they are written, none as numbers or missing.

    Raises an `OSError` or a `ValueError` if it cannot be read.
    """
    import pandas as pd

    table = pd.read_csv(path, keep_default_na=False, dtype=str) if as_text else pd.read_csv(path)
    return _with_texts(table.rename(columns=_plain), _plain)


def _with_texts(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    """Return the table with a function applied to its cells of text."""
    changed: pd.DataFrame = table.apply(lambda column: column.map(change) if str(column.dtype) in _OF_TEXT else column)
    return changed


def _escaped(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def _plain(cell: Any) -> Any:
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell
