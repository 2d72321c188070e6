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
        where = f"{self.path}, row {number}"
        ids, corrupted_ids = tokens.encode(row["clean"]), tokens.encode(row["corrupt"])
        if len(ids) != len(corrupted_ids):
            raise LabError(f"{where}: clean has {len(ids)} tokens and corrupt {len(corrupted_ids)}; they must line up")
        answer_id = _single(row["answer"], "answer", where, tokens)
        distractor_id = _single(row["distractor"], "distractor", where, tokens)
        if answer_id == distractor_id:
            raise LabError(f"{where}: answer and distractor are the same token {row['answer']!r}")
        return PromptPair(
            clean=row["clean"],
            corrupted=row["corrupt"],
            answer=row["answer"],
            distractor=row["distractor"],
            clean_tokens=ids,
            corrupted_tokens=corrupted_ids,
            answer_id=answer_id,
            distractor_id=distractor_id,
            labels=({"BOS": 0} if tokens.prepend_bos else {}) | {"END": len(ids) - 1},
            token_strings=tokens.strings(ids),
        )


def _single(text: str, column: str, where: str, tokens: Tokens) -> int:
    token = tokens.single(text)
    if token is None:
        hint = "" if text.startswith(" ") else " (a leading space may be missing)"
        raise LabError(f"{where}: {column} {text!r} is not exactly one token of this model{hint}")
    return token


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
