"""Files of prompt pairs: the columns of a table by their usual names, and its rows as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.tasks.answers import as_cell
from ioi_lab.tasks.label_columns import PREFIX, label_columns
from ioi_lab.tasks.tables import Cell, Table, plain_name, read_table

COLUMNS: Final = ("clean", "corrupt", "answer", "distractor")
GROUP: Final = "group"
"""An optional column: the group of each row, for intervals over groups."""

TITLE: Final = "title"
"""An optional column: the name of the prompts in figures, the same in all rows that have one."""

SETS: Final = ("answer", "distractor")
"""The columns whose cells may have a set of texts: see `answers`."""

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
    labels: Mapping[str, str] = field(default_factory=dict)
    """The text of each position label: see `label_columns`."""


@dataclass(frozen=True)
class PairFile:
    """The rows of a file of prompt pairs; `notes` say what was unusual about its columns."""

    rows: Sequence[PairRow]
    notes: tuple[str, ...] = ()
    title: str | None = None


def read_pairs(path: Path, key: str) -> PairFile:
    """Return the prompt pairs in a file that the config key `key` names.

    Raises a `LabError` for a file that cannot be read as a table, lacks a column, or has rows without a text in each
    column; the error lists the first `MAX_SHOWN` of these rows.
    """
    known = {*COLUMNS, GROUP, TITLE}.union(*OTHER_NAMES.values())
    table = read_table(path, key, known)
    columns, notes = _columns(table, f"{key}: {str(path)!r}")
    labels = label_columns(table.names, f"{key}: {str(path)!r}")
    columns |= {name: PREFIX + label for name, label in labels.items()}
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
    title = _title(table, columns, f"{key}: {str(path)!r}")
    return PairFile(rows, (*notes, *_repeated_columns(table, columns, path.name)), title)


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
    columns = {name: other for name, other in plain.items() if other in (*COLUMNS, GROUP, TITLE)}
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
    for column in (*COLUMNS, GROUP, TITLE):
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
        texts[column] = _text(value, column, place)
    empty = [column for column in COLUMNS if not texts.get(column)]
    if empty:
        raise LabError(f"{place}: the column {empty[0]!r} is empty")
    clean, corrupt, answer, distractor = (texts[column] for column in COLUMNS)
    labels = {name.removeprefix(PREFIX): text for name, text in texts.items() if name.startswith(PREFIX) and text}
    return PairRow(place, clean, corrupt, answer, distractor, texts.get(GROUP) or None, labels)


def _text(value: object, column: str, place: str) -> str:
    """Return the text of a cell; a list of answers as it is written in CSV files."""
    if isinstance(value, str):
        return value
    if column in (GROUP, TITLE):
        return str(value)
    if column in SETS and isinstance(value, list) and all(isinstance(text, str) for text in value):
        return as_cell(value) if value else ""
    expected = "a text or a list of texts" if column in SETS else "a text"
    raise LabError(f"{place}: the column {column!r} is {value!r:.60}, expected {expected}")


def _title(table: Table, columns: Mapping[str, str], source: str) -> str | None:
    """Return the title of the prompts; raises a `LabError` if rows have different ones."""
    first: tuple[str, str] | None = None
    for place, cells in table.rows.items():
        own = next((str(value).strip() for name, value in cells if value and columns.get(str(name)) == TITLE), "")
        if own and first is not None and own != first[1]:
            raise LabError(
                f"{source}, {place}: the column 'title' is {own!r}, but it is {first[1]!r} in {first[0]}; expected one "
                "title for all prompts (a column named group tells kinds of prompts apart)"
            )
        first = first or ((place, own) if own else None)
    return None if first is None else first[1]
