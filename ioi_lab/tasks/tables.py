"""Tables in CSV with any usual separator, JSON, JSON lines, or Parquet, as names and values, just as the file has them.

The content of a file decides its format; its name does not.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ioi_lab.errors import LabError, folded
from ioi_lab.storage.files import check_user_file
from ioi_lab.storage.tables import unescaped
from ioi_lab.tasks.text_files import read_text

MAX_SIZE: Final = 100_000_000
"""The largest size of a file, in bytes on disk and after decompression."""

_SEPARATORS: Final = (",", ";", "\t", "|")
_OTHER_FILES: Final = {
    b"PK\x03\x04": "a spreadsheet or an archive; save the table as “CSV UTF-8”",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the table as “CSV UTF-8”",
    b"\x1f\x8b": "compressed; unpack it",
}
Cell = tuple[str | None, Any]
"""The name of a column, which is None to the right of the header's last name, and a value."""


@dataclass(frozen=True)
class Table:
    """The names of the columns, and the cells of each row by its place, such as `row 2`; a name may be there twice."""

    names: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]


def read_table(path: Path, key: str, known: Collection[str]) -> Table:
    """Return the table in a file; rows are numbered as a spreadsheet or an editor shows them.

    Args:
        path: The file.
        key: The config key that names it, for errors.
        known: Names of columns in lower case. The separator is the one that splits the header into the most of them.

    Raises:
        LabError: If the file is not a table in one of the formats, or larger than `MAX_SIZE`.

    """
    file = check_user_file(path, key, max_mb=MAX_SIZE / 1e6)
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
        if other := _OTHER_FILES.get(start) or _OTHER_FILES.get(start[:2]):
            raise LabError(f"{key}: {str(path)!r} is {other}")
        if start == b"PAR1":
            return _from_parquet(file)
        text = read_text(path, key, MAX_SIZE, newline="")
        return _from_json(text) if text.lstrip()[:1] in ("{", "[") else _from_csv(text, known)
    except (ValueError, RecursionError, OSError, csv.Error) as error:
        raise LabError(f"{key}: cannot read {str(path)!r} as a table: {folded(error)}") from error


def plain_name(name: str) -> str:
    """Return the name of a column in lower case, without invisible marks, and with `_` for each blank or hyphen."""
    return re.sub(r"[\s_-]+", "_", re.sub(r"[\ufeff\u200b\u2060]", "", name).strip().casefold())


def _from_parquet(file: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file)
        groups = range(opened.metadata.num_row_groups)
        if sum(opened.metadata.row_group(group).total_byte_size for group in groups) > MAX_SIZE:
            raise ValueError(f"more than {MAX_SIZE:,} bytes after decompression")
        table = opened.read()
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return Table(
        table.column_names,
        {f"row {number}": list(zip(table.column_names, row, strict=True)) for number, row in enumerate(rows, start=1)},
    )


class _Object(list[Cell]):
    """A JSON object as the list of its pairs: a key that is there twice stays twice."""


def _from_json(text: str) -> Table:
    """Return the objects of a JSON list, of one object, or of JSON lines."""
    try:
        loaded = json.loads(text, object_pairs_hook=_Object)
        objects = [loaded] if isinstance(loaded, _Object) else loaded
        rows = {f"item {number}": value for number, value in enumerate(objects, start=1)}
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        rows = {f"line {number}": json.loads(line, object_pairs_hook=_Object) for number, line in lines}
    wrong = next((place for place, value in rows.items() if not isinstance(value, _Object)), None)
    if wrong is not None:
        raise ValueError(f"{wrong} is not an object with a key for each column")
    return Table(list(dict.fromkeys(name for row in rows.values() for name, _ in row)), rows)


def _from_csv(text: str, known: Collection[str]) -> Table:
    separator, text = _separator(text, known)
    numbered = list(enumerate(_csv_rows(text, separator), start=1))
    filled = [(number, cells) for number, cells in numbered if any(cell.strip() for cell in cells)]
    if not filled:
        return Table((), {})
    (_, names), *rows = filled
    while not names[-1].strip():  # a separator at the end of each line
        names.pop()
    return Table(names, {f"row {number}": _named(names, cells) for number, cells in rows})


def _named(names: Sequence[str], cells: Sequence[str]) -> list[Cell]:
    rest: list[Cell] = [(None, cell) for cell in cells[len(names) :] if cell.strip()]
    return [*zip(names, cells, strict=False), *rest]


def _separator(text: str, known: Collection[str]) -> tuple[str, str]:
    """Return the separator of a table, which splits its header into the most known names, and the table itself.

    Excel may write the separator into a line of its own in front of the header: `sep=;`.
    """
    if stated := re.match(r"sep=(.)\r?\n", text):
        return stated[1], text[stated.end() :]
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]

    def n_known(separator: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return sum(plain_name(name) in known for name in names), len(names)

    return max(_SEPARATORS, key=n_known), text


def _csv_rows(text: str, separator: str) -> Iterator[list[str]]:
    """Return the cells of each row; a blank between a separator and an opening quote is not part of the cell.

    Any other blank at the start of a cell is: it is the first character of an answer such as ` Mary`. The reader skips
    both kinds or neither, so the other kind is hidden from it.
    """
    hidden = re.sub(
        rf'(^|\r|{re.escape(separator)})( ++)(?!")',
        lambda found: found[1] + "\0" * len(found[2]),
        text,
        flags=re.MULTILINE,
    )
    _check_quotes(hidden, separator)
    for row in csv.reader(io.StringIO(hidden, newline=""), delimiter=separator, skipinitialspace=True):
        yield [unescaped(cell.replace("\0", " ")) for cell in row]


def _check_quotes(text: str, separator: str) -> None:
    """Raise a `ValueError` for a quote that is never closed: the rest of the table would be one cell."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    number = 1
    try:
        for _ in reader:
            number += 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise ValueError(f"a quote is opened in row {number} and never closed") from error
