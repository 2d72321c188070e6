"""The user's own prompt pairs: a CSV file with the columns clean, corrupt, answer and distractor, or a single pair.

A further column, `group`, may mark rows that are alike, such as those with one sentence, for `stats.over=sentences`.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import model_validator
from typing_extensions import override

from ioi_lab.errors import LabError, reason_of
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

COLUMNS: Final = ("clean", "corrupt", "answer", "distractor")
GROUP: Final = "group"
"""An optional column: the group of each row, for intervals over groups."""


class PairsTask(Task):
    """Prompt pairs from a CSV file, or one pair from `prompt`, `corrupt`, `answer` and `distractor`."""

    name: str = "pairs"
    path: str | None = None
    """A CSV file with the columns `COLUMNS` and, if intervals are to be taken over groups, `GROUP`."""

    prompt: str | None = None
    """The clean prompt."""

    corrupt: str | None = None
    answer: str | None = None
    """The exact text of one token, with its leading space."""

    distractor: str | None = None
    """The exact text of one token, with its leading space."""

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
                f"task.{given[0]}: got {own[given[0]]!r}, but task.path={self.path} already gives the prompts"
            )
        return self

    @override
    def check(self) -> None:
        self._rows()  # the mistakes in the file are reported before any model is loaded

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return one pair per different row, with the labels BOS (if prompts have it) and END.

        A row that repeats an earlier one would count as further evidence, so it is left out. Raises a `LabError` that
        names the row for prompts of different length, and for an answer or a distractor that is not one token.
        """
        rows = self._rows()
        pairs: dict[tuple[str, ...], PromptPair] = {}
        for number, row in enumerate(rows, start=1):
            pairs.setdefault(tuple(row[column] for column in COLUMNS), self._pair(number, row, tokens))
        n_repeated = len(rows) - len(pairs)
        verb = "repeats an earlier one and is" if n_repeated == 1 else "repeat earlier ones and are"
        notes = (f"{n_repeated} of {len(rows)} rows {verb} counted once",) if n_repeated else ()
        return PromptPairs(list(pairs.values()), notes)

    def _rows(self) -> list[dict[str, str]]:
        if self.path is not None:
            return _read(Path(self.path))
        values = (self.prompt, self.corrupt, self.answer, self.distractor)
        return [{column: value or "" for column, value in zip(COLUMNS, values, strict=True)}]

    def _pair(self, number: int, row: dict[str, str], tokens: Tokens) -> PromptPair:
        try:
            pair = PromptPair.build(tokens, row["clean"], row["corrupt"], row["answer"], row["distractor"])
        except LabError as error:
            source = f"{self.path}, row {number}" if self.path else "task"
            raise LabError(f"{source}: {error}") from error
        return replace(pair, group=row.get(GROUP) or None)


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabError(f"task.path: cannot read {str(path)!r} as CSV: {reason_of(error)}") from error
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        present = ", ".join(columns) or "none"
        raise LabError(
            f"task.path: {str(path)!r} lacks the column {missing[0]!r}; found {present}; needs {','.join(COLUMNS)}"
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
