"""Anyone's prompt pairs: a CSV file with the columns clean, corrupt, answer, distractor, or one pair by hand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from pydantic import model_validator

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

COLUMNS: Final = ("clean", "corrupt", "answer", "distractor")


class PairsTask(Task):
    """Prompt pairs from `path`, or the one of `prompt` (clean) and `corrupt`.

    Answer and distractor are a token's exact text, its leading space included.
    """

    path: str | None
    prompt: str | None = None
    corrupt: str | None = None
    answer: str | None = None
    distractor: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> PairsTask:
        own = {name: getattr(self, name) for name in ("prompt", "corrupt", "answer", "distractor")}
        given = [name for name, value in own.items() if value]
        if self.path is None and len(given) < len(own):
            missing = next(name for name in own if name not in given) if given else "path"
            raise LabError(
                f"task.{missing}: got None; give a CSV file with task.path=…, or one pair with task.prompt=… "
                "task.corrupt=… task.answer=… task.distractor=…"
            )
        if self.path is not None and given:
            raise LabError(
                f"task.{given[0]}: got {own[given[0]]!r}, but task.path={self.path} gives the prompts already"
            )
        return self

    def check(self) -> None:
        """Read the file once before any model is loaded, so that its mistakes are told at once."""
        self._rows()

    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """The rows, with labels BOS (if there is one) and END; rows that do not line up are refused."""
        return PromptPairs([self._pair(number, row, tokens) for number, row in enumerate(self._rows(), start=1)])

    def _rows(self) -> list[dict[str, str]]:
        if self.path is not None:
            return _read(Path(self.path))
        values = (self.prompt, self.corrupt, self.answer, self.distractor)
        return [{column: value or "" for column, value in zip(COLUMNS, values, strict=True)}]

    def _pair(self, number: int, row: dict[str, str], tokens: Tokens) -> PromptPair:
        try:
            return PromptPair.build(tokens, row["clean"], row["corrupt"], row["answer"], row["distractor"])
        except LabError as error:
            where = f"{self.path}, row {number}" if self.path else "task"
            raise LabError(f"{where}: {error}") from error


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
