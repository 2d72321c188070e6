"""Files of prompt pairs: the columns of a table by their usual names, and its rows as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.tasks.tables import Cell, Table, plain_name, read_table

COLUMNS: Final = ("clean", "corrupt", "answer", "distractor")
GROUP: Final = "group"
"""An optional column: the group of each row, for intervals over groups."""

OTHER_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "clean": ("clean_prompt", "prompt"),
    "corrupt": ("corrupted", "corrupt_prompt", "corrupted_prompt"),
}
"""Names that a column may have instead, if none has its own."""

MAX_SHOWN: Final = 10
"""The largest number of bad rows that an error lists."""

_SIMILAR: Final = 0.82


@dataclass(frozen=True)
class PairRow:
    """The texts of one pair, and its place in the file, such as `row 2`."""

    place: str
    clean: str
    corrupt: str
    answer: str
    distractor: str
    group: str | None = None


@dataclass(frozen=True)
class PairFile:
    """The rows of a file of prompt pairs; `notes` say what was unusual about its columns."""

    rows: Sequence[PairRow]
    notes: tuple[str, ...] = ()


def read_pairs(path: Path, key: str) -> PairFile:
    """Return the prompt pairs in a file that the config key `key` names.

    Raises a `LabError` for a file that cannot be read as a table, lacks a column, or has rows without a text in each
    column; the error lists the first `MAX_SHOWN` of these rows.
    """
    known = {*COLUMNS, GROUP}.union(*OTHER_NAMES.values())
    table = read_table(path, key, known)
    columns, notes = _columns(table, f"{key}: {str(path)!r}")
    if not table.rows:
        raise LabError(f"{key}: {str(path)!r} has no prompts below its header")
    rows: list[PairRow] = []
    problems: list[str] = []
    for place, cells in table.rows.items():
        try:
            rows.append(_row(place, cells, columns))
        except LabError as error:
            problems.append(str(error))
    raise_all(problems, len(table.rows), str(path))
    return PairFile(rows, (*notes, *_repeated_columns(table, columns, path.name)))


def raise_all(problems: Sequence[str], n_rows: int, source: str) -> None:
    """Raise a `LabError` with the first `MAX_SHOWN` of the problems, each of one row; return if there are none."""
    if len(problems) == 1:
        raise LabError(f"{source}, {problems[0]}")
    if problems:
        more = f"; and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        shown = "; ".join(problems[:MAX_SHOWN])
        raise LabError(f"{source}: {len(problems)} of {n_rows} rows cannot be used: {shown}{more}")


def _columns(table: Table, source: str) -> tuple[dict[str, str], list[str]]:
    """Return what the names in a table stand for, and a note for each name that is only similar to the usual one."""
    plain = {name: plain_name(name) for name in table.names}
    columns = {name: other for name, other in plain.items() if other in (*COLUMNS, GROUP)}
    notes = []
    for column in (column for column in COLUMNS if column not in columns.values()):
        free = {other: name for name, other in plain.items() if name not in columns}
        same = [other for other in OTHER_NAMES.get(column, ()) if other in free]
        found = same[:1] or get_close_matches(column, free, n=2, cutoff=_SIMILAR)
        if len(found) != 1:
            present = ", ".join(repr(name)[1:-1] for name in table.names) or "none"
            raise LabError(f"{source} lacks the column {column!r}; found {present}; needs {','.join(COLUMNS)}")
        columns[free[found[0]]] = column
        if not same:
            notes.append(f"the column {free[found[0]]!r} is read as {column!r}")
    return columns, notes


def _repeated_columns(table: Table, columns: Mapping[str, str], name: str) -> list[str]:
    """Return a note for each column that is there more than once with different values."""
    notes = []
    for column in (*COLUMNS, GROUP):
        values = [
            {repr(value) for found, value in row if columns.get(str(found)) == column} for row in table.rows.values()
        ]
        if n_different := sum(len(row) > 1 for row in values):
            notes.append(
                f"{name} has the column {column!r} more than once, with different values in {n_different} of "
                f"{len(table.rows)} rows; the tokens are those of the first"
            )
    return notes


def _row(place: str, cells: Sequence[Cell], columns: Mapping[str, str]) -> PairRow:
    """Return a row; raises a `LabError` that begins with its place unless each column has a text."""
    texts: dict[str, str] = {}
    for name, value in cells:
        if name is None:
            raise LabError(f"{place} has more columns than the header; put text with commas in quotes")
        column = columns.get(name)
        if column is None or column in texts or value is None:
            continue
        if not isinstance(value, str) and column != GROUP:
            raise LabError(f"{place}: the column {column!r} is {value!r:.60}, expected a text")
        texts[column] = str(value)
    empty = [column for column in COLUMNS if not texts.get(column)]
    if empty:
        raise LabError(f"{place}: the column {empty[0]!r} is empty")
    clean, corrupt, answer, distractor = (texts[column] for column in COLUMNS)
    return PairRow(place, clean, corrupt, answer, distractor, texts.get(GROUP) or None)
