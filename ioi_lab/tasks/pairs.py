"""Anyone's prompt pairs from a CSV file with the columns clean, corrupt, answer, distractor."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

COLUMNS: Final = ("clean", "corrupt", "answer", "distractor")


class PairsTask(Task):
    """Prompt pairs from `path`; answer and distractor are a token's exact text, its leading space included."""

    path: str

    def check(self) -> None:
        """Read the file once before any model is loaded, so that its mistakes are told at once."""
        _read(Path(self.path))

    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """The file's rows, with labels BOS (if there is one) and END; rows that do not line up are refused."""
        rows = _read(Path(self.path))
        return PromptPairs([self._pair(number, row, tokens) for number, row in enumerate(rows, start=1)])

    def _pair(self, number: int, row: dict[str, str], tokens: Tokens) -> PromptPair:
        try:
            return PromptPair.build(tokens, row["clean"], row["corrupt"], row["answer"], row["distractor"])
        except LabError as error:
            raise LabError(f"{self.path}, row {number}: {error}") from error


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LabError(f"task.path: cannot read {str(path)!r} as CSV: {reason}") from error
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        raise LabError(
            f"task.path: {str(path)!r} lacks the column {missing[0]!r}; found {found}; needs {','.join(COLUMNS)}"
        )
    if not rows:
        raise LabError(f"task.path: {str(path)!r} has no prompts below its header")
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise LabError(f"{path}, row {number} has more columns than the header; put text with commas in quotes")
        empty = [column for column in COLUMNS if not row[column]]
        if empty:
            raise LabError(f"{path}, row {number}: the column {empty[0]!r} is empty")
    return rows
