"""Ordinary text as prompts without a task: in pieces of equal length, or by paragraph."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ioi_lab.errors import LabError, folded
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel

LENGTH: Final = 64
"""Tokens of text in one piece, as far as the model reads that many."""

MIN_PIECES: Final = 10
MIN_PASSAGE: Final = 8
PIECE_WORDS: Final = 40
_MAX_CHARACTERS_PER_TOKEN: Final = 16

TEXTS: Final = Path(__file__).parent / "texts"


def default_text(model: LabModel) -> Path:
    """A short neutral text that is packaged; for the tiny models, one in the English that they have learned."""
    return TEXTS / ("tiny_english.txt" if model.config.source == "tiny" else "neutral.txt")


def text_pieces(model: LabModel, text: Path, key: str, max_tokens: int) -> PromptPairs:
    """The first `max_tokens` tokens of a text file in pieces of equal length, each with BOS where prompts have it.

    Raises a `LabError` that names `key` for a file that cannot be read or is too short.
    """
    bos = _bos(model)
    ids = model.tokens.encode(_read(text, key, max_tokens))[len(bos) :]
    step = min(LENGTH, model.shape.n_ctx) - len(bos)
    pieces = [bos + ids[start : start + step] for start in range(0, len(ids) - step + 1, step)]
    if len(pieces) < MIN_PIECES:
        raise LabError(
            f"{key}: {str(text)!r} has {len(ids)} tokens for {model.shape.name}, too short to train on; at least "
            f"{MIN_PIECES * step} are needed"
        )
    return PromptPairs([PromptPair.untasked(piece) for piece in pieces[: max_tokens // (step + len(bos))]])


def passages(model: LabModel, text: Path, key: str, max_tokens: int) -> PromptPairs:
    """The paragraphs of the first `max_tokens` tokens of a text file, each as if it stood alone.

    Blank lines part them. Longer paragraphs are cut into pieces; those of fewer than `MIN_PASSAGE` tokens are left out.
    Raises a `LabError` that names `key` for a file that cannot be read or has too few.
    """
    bos = _bos(model)
    step = min(LENGTH, model.shape.n_ctx) - len(bos)
    found: list[tuple[int, ...]] = []
    for paragraph in re.split(r"\n\s*\n", _read(text, key, max_tokens)):
        ids = model.tokens.encode(" ".join(paragraph.split()))[len(bos) :]
        cut = [ids[start : start + step] for start in range(0, len(ids), step)]
        found += [bos + piece for piece in cut if len(piece) >= MIN_PASSAGE]
    ends = accumulate(len(piece) for piece in found)
    kept = [piece for piece, end in zip(found, ends, strict=True) if end <= max_tokens]
    if len(kept) < MIN_PIECES:
        raise LabError(
            f"{key}: {str(text)!r} gives {len(kept)} passages of {MIN_PASSAGE} to {step} tokens for "
            f"{model.shape.name}, too few to measure on; at least {MIN_PIECES} are needed"
        )
    return PromptPairs([PromptPair.untasked(piece) for piece in kept])


def pieces_of(text: str, max_words: int = PIECE_WORDS) -> list[str]:
    """A text of any length in pieces of at most so many words, with the blanks between words as they are."""
    words = re.findall(r"\s*\S+", text)
    return ["".join(words[start : start + max_words]).strip() for start in range(0, len(words), max_words)]


def _bos(model: LabModel) -> tuple[int, ...]:
    return (model.tokens.tokenizer.bos_token_id,) if model.tokens.prepend_bos else ()


def _read(text: Path, key: str, max_tokens: int) -> str:
    try:
        with text.open(encoding="utf-8") as file:
            return file.read(max_tokens * _MAX_CHARACTERS_PER_TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or folded(error)
        raise LabError(f"{key}: cannot read {str(text)!r}: {reason}") from error
