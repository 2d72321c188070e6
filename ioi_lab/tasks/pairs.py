"""The user's own prompt pairs: a file with the columns clean, corrupt, answer and distractor, or a single pair.

Further columns: `group` marks rows that are alike, such as those with one sentence, for `stats.over=sentences`;
`label:NAME` says at which token a position label stands (see `label_columns`); `title` names the prompts in figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import model_validator
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.answers import as_cell, as_set, from_cell
from ioi_lab.tasks.characters import notes_on_characters
from ioi_lab.tasks.label_columns import label_places
from ioi_lab.tasks.pair_files import PairFile, PairRow, raise_all, read_pairs
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens


class PairsTask(Task):
    """Prompt pairs from a file, or one pair from `prompt`, `corrupt`, `answer` and `distractor`."""

    name: str = "pairs"
    path: str | None = None
    """A table (CSV, JSON, JSON lines, Parquet) with the columns `COLUMNS` of `pair_files` and, optionally, `GROUP`."""

    prompt: str | None = None
    """The clean prompt."""

    corrupt: str | None = None
    answer: str | list[str] | None = None
    """The exact text of one token, with its leading space, or a list of these, whose probabilities are added up."""

    distractor: str | list[str] | None = None
    """The exact text of one token, with its leading space, or a list of these."""

    @model_validator(mode="after")
    def _one_source(self) -> PairsTask:
        own = {name: getattr(self, name) for name in ("prompt", "corrupt", "answer", "distractor")}
        given = [name for name, value in own.items() if value]
        if self.path is None and len(given) < len(own):
            missing = next(name for name in own if name not in given) if given else "path"
            raise LabError(
                f"task.{missing}: got None; give a file with task.path=…, or one pair with task.prompt=… "
                "task.corrupt=… task.answer=… task.distractor=…"
            )
        if self.path is not None and given:
            raise LabError(
                f"task.{given[0]}: got {own[given[0]]!r}, but task.path={self.path} already gives the prompts"
            )
        return self

    @property
    @override
    def title(self) -> str:
        try:
            return (self._file().title or self.name) + self.selection
        except LabError:  # `check` reports it
            return self.name + self.selection

    @override
    def check(self) -> None:
        self._file()  # the mistakes in the file are reported before any model is loaded

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return one pair per different row, with the labels of its columns, BOS (if prompts have it) and END.

        A row that repeats an earlier one would count as further evidence, so it is left out. Raises a `LabError` that
        names the rows for prompts of different length, and for an answer or a distractor that is not one token.
        """
        file = self._file()
        distinct: dict[tuple[str, ...], PairRow] = {}
        for row in file.rows:
            distinct.setdefault((row.clean, row.corrupt, row.answer, row.distractor), row)
        rows = list(distinct.values())
        notes = (*file.notes, *_notes_on_rows(len(file.rows), len(rows)))
        pairs = self._pairs(rows, tokens)
        return PromptPairs(pairs, (*notes, *notes_on_characters(self._prompts(rows), tokens)))

    def _file(self) -> PairFile:
        if self.path is not None:
            return read_pairs(Path(self.path), "task.path")
        answer, distractor = (as_cell(as_set(value or "")) for value in (self.answer, self.distractor))
        return PairFile([PairRow("task", self.prompt or "", self.corrupt or "", answer, distractor)])

    def _prompts(self, rows: Sequence[PairRow]) -> dict[str, str]:
        """Return all prompts by their places."""
        if self.path is None:
            return {"task.prompt": rows[0].clean, "task.corrupt": rows[0].corrupt}
        clean = {f"clean in {row.place}": row.clean for row in rows}
        return clean | {f"corrupt in {row.place}": row.corrupt for row in rows}

    def _pairs(self, rows: Sequence[PairRow], tokens: Tokens) -> list[PromptPair]:
        pairs: list[PromptPair] = []
        problems: list[str] = []
        for row in rows:
            try:
                pairs.append(_pair(row, tokens))
            except LabError as error:
                if self.path is None:
                    raise LabError(f"{row.place}: {error}") from error
                problems.append(f"{row.place}: {error}")
        raise_all(problems, len(rows), str(self.path))
        return pairs


def _pair(row: PairRow, tokens: Tokens) -> PromptPair:
    places = label_places(tokens, row.clean, row.labels)
    answers, distractors = from_cell(row.answer), from_cell(row.distractor)
    pair = PromptPair.build(tokens, row.clean, row.corrupt, answers, distractors, lambda _: places)
    return replace(pair, group=row.group)


def _notes_on_rows(n: int, n_distinct: int) -> tuple[str, ...]:
    verb = "repeats an earlier one and is" if n - n_distinct == 1 else "repeat earlier ones and are"
    return (f"{n - n_distinct} of {n} rows {verb} counted once",) if n > n_distinct else ()
