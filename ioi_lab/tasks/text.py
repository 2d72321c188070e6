"""Ordinary text as prompts without a task: in pieces of equal length, or by paragraph."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.text_files import read_text

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

LENGTH: Final = 64
"""The number of tokens in a piece of text, BOS included; the model's context length if that is shorter."""

MIN_PIECES: Final = 10
"""The smallest number of pieces or passages that a text must give."""

MIN_PASSAGE: Final = 8
"""The smallest number of tokens in a passage, without BOS."""

MAX_PIECE_WORDS: Final = 40
_MAX_CHARACTERS_PER_TOKEN: Final = 16

TEXTS: Final = Path(__file__).parent / "texts"
"""The folder of the packaged texts."""


class ReaderShape(Protocol):
    """The sizes of a model that decide how text is cut."""

    @property
    def name(self) -> str:
        """The name of the model, for errors."""

    @property
    def n_ctx(self) -> int:
        """The largest number of tokens in a prompt."""


class ReaderConfig(Protocol):
    """The origin of a model that decides which text it can read."""

    @property
    def source(self) -> str:
        """`tiny` for the packaged models, which know only the English of their corpus."""


class TextReader(Protocol):
    """A model that text is prepared for; every `LabModel` is one."""

    @property
    def tokens(self) -> Tokens:
        """The tokenizer."""

    @property
    def shape(self) -> ReaderShape:
        """The sizes of the model."""

    @property
    def config(self) -> ReaderConfig:
        """The config of the model."""


def default_text(model: TextReader) -> Path:
    """Return a short, neutral, packaged text; for the tiny models, one in the English of their corpus."""
    return TEXTS / ("tiny_english.txt" if model.config.source == "tiny" else "neutral.txt")


def text_pieces(model: TextReader, text: Path, key: str, max_tokens: int) -> PromptPairs:
    """Return the first `max_tokens` tokens of a text file in pieces of equal length, each with BOS if prompts have it.

    Raises a `LabError` that names `key` for a file that cannot be read or is too short.
    """
    bos = model.tokens.bos
    ids = model.tokens.encode(read_text(text, key, max_tokens * _MAX_CHARACTERS_PER_TOKEN))[len(bos) :]
    step = min(LENGTH, model.shape.n_ctx) - len(bos)
    pieces = [bos + ids[start : start + step] for start in range(0, len(ids) - step + 1, step)]
    if len(pieces) < MIN_PIECES:
        raise LabError(
            f"{key}: {str(text)!r} has {len(ids)} tokens for {model.shape.name}, too short to train on; at least "
            f"{MIN_PIECES * step} are needed"
        )
    return PromptPairs([PromptPair.untasked(piece) for piece in pieces[: max_tokens // (step + len(bos))]])


def passages(model: TextReader, text: Path, key: str, max_tokens: int) -> PromptPairs:
    """Return the paragraphs in the first `max_tokens` tokens of a text file, each as a prompt of its own.

    Blank lines separate paragraphs. Long paragraphs are cut into pieces; pieces of fewer than `MIN_PASSAGE` tokens are
    left out. Raises a `LabError` that names `key` for a file that cannot be read or has too few paragraphs.
    """
    bos = model.tokens.bos
    step = min(LENGTH, model.shape.n_ctx) - len(bos)
    pieces: list[tuple[int, ...]] = []
    for paragraph in re.split(r"\n\s*\n", read_text(text, key, max_tokens * _MAX_CHARACTERS_PER_TOKEN)):
        ids = model.tokens.encode(" ".join(paragraph.split()))[len(bos) :]
        cut = [ids[start : start + step] for start in range(0, len(ids), step)]
        pieces += [bos + piece for piece in cut if len(piece) >= MIN_PASSAGE]
    ends = accumulate(len(piece) for piece in pieces)
    kept = [piece for piece, end in zip(pieces, ends, strict=True) if end <= max_tokens]
    if len(kept) < MIN_PIECES:
        raise LabError(
            f"{key}: {str(text)!r} gives {len(kept)} passages of {MIN_PASSAGE} to {step} tokens for "
            f"{model.shape.name}, too few to measure on; at least {MIN_PIECES} are needed"
        )
    return PromptPairs([PromptPair.untasked(piece) for piece in kept])


def pieces_of(text: str, max_words: int = MAX_PIECE_WORDS) -> list[str]:
    """Return a text in pieces of at most `max_words` words; the blanks between the words of a piece are kept."""
    words = re.findall(r"\s*\S+", text)
    return ["".join(words[start : start + max_words]).strip() for start in range(0, len(words), max_words)]
