"""Corpora: the texts that two models read side by side. A class each, one option of `conf/corpus/`.

They are read as streams, twice (to fit maps, then to try them), and give the same texts each time.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ioi_lab.config import LabConfig, instantiate
from ioi_lab.errors import LabError, folded
from ioi_lab.tasks.prompts import Task

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

Count = Annotated[int, Field(ge=1)]


class Corpus(LabConfig):
    """Base of all corpora."""

    name: str

    @property
    def title(self) -> str:
        """The corpus in figures."""
        return self.name.replace("_", " ")

    @abstractmethod
    def texts(self, tokens: Tokens) -> Iterator[str]:
        """The texts, each of any length; `tokens` is the source model's, for corpora that depend on one.

        What one text holds is never split into a part to fit on and a part to try on.
        """


class TinyEnglish(Corpus):
    """`n` sentences of the English that the packaged models have learned, from `seed`."""

    n: Count
    seed: Annotated[int, Field(ge=0)]

    def texts(self, tokens: Tokens) -> Iterator[str]:
        """A sentence each."""
        from ioi_lab.tiny.corpus import sentence

        rng = random.Random(self.seed)
        return (sentence(rng) for _ in range(self.n))


class TaskPrompts(Corpus):
    """The prompts of a task: clean, then corrupted."""

    task: dict[str, Any]

    def check(self) -> None:
        """Tell a wrong key of the task before any model is loaded."""
        self._task.check()

    @property
    def _task(self) -> Task:
        return instantiate(self.task, "corpus.task", Task)

    @property
    def title(self) -> str:
        """With the task's name."""
        return f"prompts of {self._task.title}"

    def texts(self, tokens: Tokens) -> Iterator[str]:
        """A prompt each."""
        for pair in self._task.prompt_pairs(tokens):
            yield pair.clean
            yield pair.corrupted


class TextFile(Corpus):
    """A UTF-8 text file: a text a paragraph (blank lines part them) or a line; at most `n` of them."""

    path: str
    unit: Literal["paragraph", "line"]
    n: Literal["all"] | Count

    def check(self) -> None:
        """Tell a missing file before any model is loaded."""
        if not Path(self.path).is_file():
            raise LabError(f"corpus.path: {self.path!r} is no file")

    @property
    def title(self) -> str:
        """The file's name."""
        return Path(self.path).name

    def texts(self, tokens: Tokens) -> Iterator[str]:
        """A paragraph or a line each."""
        found = self._lines() if self.unit == "line" else self._paragraphs()
        return islice(found, None if self.n == "all" else self.n)

    def _lines(self) -> Iterator[str]:
        try:
            with Path(self.path).open(encoding="utf-8") as file:
                for line in file:
                    yield line.strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or folded(error)
            raise LabError(f"corpus.path: cannot read {self.path!r}: {reason}") from error

    def _paragraphs(self) -> Iterator[str]:
        lines: list[str] = []
        for line in self._lines():
            if line:
                lines.append(line)
            elif lines:
                yield " ".join(lines)
                lines = []
        if lines:
            yield " ".join(lines)


class HubDataset(Corpus):
    """The first `n` rows of a Hugging Face data set, or of a folder of its files, by its `datasets` library."""

    path: str
    subset: str | None
    split: str
    column: str
    revision: str | None
    n: Count

    @property
    def title(self) -> str:
        """The data set and its split."""
        return f"{self.path} ({self.split})"

    def texts(self, tokens: Tokens) -> Iterator[str]:
        """The column of a row each, fetched as they are read."""
        import datasets

        datasets.disable_progress_bars()
        try:
            rows = datasets.load_dataset(
                self.path, self.subset, split=self.split, revision=self.revision, streaming=True
            )
            for row in islice(rows, self.n):
                yield self._text(row)
        except LabError:
            raise
        except Exception as error:  # the library raises many types for what it cannot find or read
            raise LabError(f"corpus.path: cannot read the data set {self.path!r}: {folded(error)[:300]}") from error

    def _text(self, row: Mapping[str, Any]) -> str:
        if self.column not in row:
            raise LabError(f"corpus.column: got {self.column!r}, expected one of {', '.join(row)}")
        return str(row[self.column])
