"""Corpora: the texts that two models both read. Each is a class, and one option of `conf/corpus/`.

Corpora are read as streams, twice (to fit maps, then to try them), and give the same texts each time.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import override

from ioi_lab.config import LabConfig, instantiate, is_written_as_path
from ioi_lab.errors import LabError, folded, reason_of
from ioi_lab.storage.files import check_user_file
from ioi_lab.tasks.prompts import Task

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

Count = Annotated[int, Field(ge=1)]


_IOI: Final = {
    "_target_": "ioi_lab.tasks.ioi.IOITask",
    "name": "ioi",
    "n": 1000,
    "seed": 0,
    "order": "mixed",
    "corruption": "s2",
    "template": "all",
}


@dataclass(frozen=True)
class LabelledText:
    """A text with the characters at which its labelled tokens end."""

    text: str
    ends: frozenset[int]


class Corpus(LabConfig):
    """The base of all corpora."""

    name: str
    """The name in titles and figures."""

    @property
    def title(self) -> str:
        """The corpus's name in figures."""
        return self.name.replace("_", " ")

    @property
    def at_most(self) -> int | None:
        """The number of texts, or a number that they do not exceed; None if that is not known before they are read."""
        return None

    @abstractmethod
    def texts(self, tokens: Tokens) -> Iterator[str]:
        """Yield the texts, each of any length; `tokens` are the source model's, for corpora that depend on a tokenizer.

        A text is never divided between the part that maps are fitted to and the part that they are tried on.
        """

    def labelled_texts(self, tokens: Tokens) -> Iterator[LabelledText]:
        """Yield the texts with their labelled positions, for `alignment.positions=labels`.

        Raises a `LabError` for a corpus without labels.
        """
        raise LabError(
            f"alignment.positions: got 'labels', but the texts of {self.title} have no labels; expected 'all' or "
            "'last', or corpus=task"
        )


class TinyEnglish(Corpus):
    """`n` sentences of the English that the packaged models have learned, from `seed`."""

    name: str = "tiny_english"
    n: Count = 4000
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    @override
    def at_most(self) -> int | None:
        return self.n

    @override
    def texts(self, tokens: Tokens) -> Iterator[str]:
        from ioi_lab.tiny.corpus import sentence

        rng = random.Random(self.seed)
        return (sentence(rng) for _ in range(self.n))


class TaskPrompts(Corpus):
    """The prompts of a task: of each pair the clean one, then the corrupted one."""

    name: str = "task"
    task: dict[str, Any] = _IOI

    @override
    def check(self) -> None:
        self._task.check()

    @property
    def _task(self) -> Task:
        return instantiate(self.task, "corpus.task", Task)

    @property
    @override
    def title(self) -> str:
        return f"prompts of {self._task.title}"

    @override
    def texts(self, tokens: Tokens) -> Iterator[str]:
        for pair in self._task.prompt_pairs(tokens):
            yield pair.clean
            yield pair.corrupted

    @override
    def labelled_texts(self, tokens: Tokens) -> Iterator[LabelledText]:
        """Yield clean and corrupted prompts with the ends of all labelled tokens but BOS."""
        for pair in self._task.prompt_pairs(tokens):
            places = [place for label, place in pair.labels.items() if label != "BOS"]
            for text in (pair.clean, pair.corrupted):
                _, ends = tokens.encode_with_ends(text)
                yield LabelledText(text, frozenset(ends[place] for place in places))


class TextFile(Corpus):
    """A UTF-8 text file: each paragraph (separated by blank lines) or each line is a text; at most `n` texts."""

    name: str = "text"
    path: str
    unit: Literal["paragraph", "line"] = "paragraph"
    n: Literal["all"] | Count = "all"

    @override
    def check(self) -> None:
        check_user_file(Path(self.path), "corpus.path")

    @property
    @override
    def title(self) -> str:
        return Path(self.path).name

    @property
    @override
    def at_most(self) -> int | None:
        return None if self.n == "all" else self.n

    @override
    def texts(self, tokens: Tokens) -> Iterator[str]:
        units = self._lines() if self.unit == "line" else self._paragraphs()
        return islice(units, None if self.n == "all" else self.n)

    def _lines(self) -> Iterator[str]:
        try:
            with Path(self.path).open(encoding="utf-8") as file:
                for line in file:
                    yield line.strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LabError(f"corpus.path: cannot read {self.path!r}: {reason_of(error)}") from error

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
    """The first `n` rows of a Hugging Face data set, or of a folder with its files, read with `datasets`.

    `path` is a name on the hub, or a folder that is written as a path, such as `./data`.
    """

    names_or_paths = frozenset({"path"})

    name: str = "hub"
    path: str = "NeelNanda/pile-10k"
    subset: str | None = None
    split: str = "train"
    column: str = "text"
    revision: str | None = None
    n: Count = 2000

    @override
    def check(self) -> None:
        if not is_written_as_path(self.path) and Path(self.path).exists():  # `datasets` would take it instead
            raise LabError(
                f"corpus.path: got {self.path!r}, which is a name on the hub, but also in the current folder; write "
                f"'./{self.path}' for the folder, or run in another folder"
            )

    @property
    @override
    def title(self) -> str:
        return f"{self.path} ({self.split})"

    @property
    @override
    def at_most(self) -> int | None:
        return self.n

    @override
    def texts(self, tokens: Tokens) -> Iterator[str]:
        """Yield the column of each row, which is fetched only then."""
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
        except Exception as error:  # the library raises many types for data that it cannot find or read
            raise LabError(f"corpus.path: cannot read the data set {self.path!r}: {folded(error)[:300]}") from error

    def _text(self, row: Mapping[str, Any]) -> str:
        if self.column not in row:
            raise LabError(f"corpus.column: got {self.column!r}, expected one of {', '.join(row)}")
        return str(row[self.column])
