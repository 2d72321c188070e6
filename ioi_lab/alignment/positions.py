"""Positions that two models share: those whose tokens end at the same character of a text.

At such positions both models have seen exactly the same characters, whatever their tokenizers made of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_lab.alignment.corpora import LabelledText
from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.text import pieces_of
from ioi_lab.tasks.tokens import Tokens

if TYPE_CHECKING:
    from ioi_lab.engine.memory import MemoryGb
    from ioi_lab.models.loading import LabModel

CHUNK: Final = 2048
"""About how many tokens of either model are read at a time."""

HELD_OUT: Final = -1
"""The fold of texts that maps are not fitted to."""


@dataclass(frozen=True)
class SharedPiece:
    """A piece of text in two models: the token ids of each, and the positions that end at the same characters."""

    ids: tuple[tuple[int, ...], tuple[int, ...]]
    places: tuple[tuple[int, ...], tuple[int, ...]]
    fold: int
    text: int
    """The number of the text in the corpus that the piece is from."""

    @classmethod
    def of(
        cls,
        piece: str,
        models: tuple[LabModel, LabModel],
        fold: int,
        text: int,
        *,
        last: bool,
        only: frozenset[int] | None = None,
    ) -> Self:
        """Return the shared positions within the contexts of both models, without BOS, which has read nothing.

        `last`: only the position at which the whole piece has been read. `only`: the characters at which positions may
        end; None for all.
        """
        read = [model.tokens.encode_with_ends(piece) for model in models]
        ids = [tokens[: model.shape.n_ctx] for model, (tokens, _) in zip(models, read, strict=True)]
        only = frozenset({len(piece)}) if last else only
        # Tokens that share a character end at the same one: the last of them has read it all.
        at_end = [
            {end: place for place, end in enumerate(ends[: len(kept)]) if end > 0}
            for kept, (_, ends) in zip(ids, read, strict=True)
        ]
        common = sorted(at_end[0].keys() & at_end[1].keys() & (at_end[0].keys() if only is None else only))
        first, second = (tuple(places[end] for end in common) for places in at_end)
        return cls((ids[0], ids[1]), (first, second), fold, text)

    def __len__(self) -> int:
        return len(self.places[0])


@dataclass(frozen=True)
class Split:
    """The split of a corpus, by a hash of each text, into texts to try maps on and folds of the others.

    `held_out` is the share of the former. `last`: only the last position of each piece of text is used.
    """

    held_out: float
    folds: int
    seed: int
    last: bool = False

    def fold(self, text: str) -> int:
        """Return the fold of a text, or `HELD_OUT`."""
        digest = hashlib.sha256(f"{self.seed} {text}".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        if draw < self.held_out:
            return HELD_OUT
        return min(self.folds - 1, int((draw - self.held_out) / (1 - self.held_out) * self.folds))


@dataclass(frozen=True)
class Chunk:
    """Some pieces of text, and the number of texts of the corpus that have been read at its end."""

    pieces: tuple[SharedPiece, ...]
    texts_read: int

    @property
    def held_out(self) -> Chunk:
        """The pieces of the texts that maps are not fitted to."""
        return replace(self, pieces=tuple(piece for piece in self.pieces if piece.fold == HELD_OUT))

    @property
    def folds(self) -> Int[Tensor, "position"]:
        """The fold of each position's text."""
        return self._by_position([piece.fold for piece in self.pieces])

    @property
    def texts(self) -> Int[Tensor, "position"]:
        """The number of each position's text."""
        return self._by_position([piece.text for piece in self.pieces])

    def _by_position(self, numbers: list[int]) -> Int[Tensor, "position"]:
        lengths = torch.tensor([len(piece) for piece in self.pieces])
        return torch.tensor(numbers).repeat_interleave(lengths)


def chunks_of(
    texts: Iterable[str | LabelledText], models: tuple[LabModel, LabModel], split: Split, start: int = 0
) -> Iterator[Chunk]:
    """Yield the pieces of texts that have shared positions, in chunks that end with a text.

    Of a text with labels, which is one piece, only labelled positions are shared.

    The first `start` texts are skipped. If these are the texts up to the end of a chunk, the same chunks follow as
    without skipping.
    """
    pieces: list[SharedPiece] = []
    n_tokens, count = 0, 0
    for count, text in enumerate(texts, start=1):
        if count <= start:
            continue
        whole, ends = (text.text, text.ends) if isinstance(text, LabelledText) else (text, None)
        fold = split.fold(whole)
        of_text = [
            SharedPiece.of(piece, models, fold, count, last=split.last, only=ends)
            for piece in (pieces_of(whole) if ends is None else [whole])
        ]
        pieces += [piece for piece in of_text if len(piece)]
        n_tokens += max(sum(len(piece.ids[side]) for piece in of_text) for side in (0, 1))
        if n_tokens >= CHUNK:
            yield Chunk(tuple(pieces), count)
            pieces, n_tokens = [], 0
    if pieces:
        yield Chunk(tuple(pieces), count)


def activations_of(
    model: LabModel, chunk: Chunk, side: int, sites: Sequence[Site], memory_gb: MemoryGb
) -> Float[Tensor, "position site d_model"]:
    """Return the activations of a model (`side` 0 or 1) at the shared positions, piece by piece, in float64."""
    starts = torch.tensor([0, *(len(piece) for piece in chunk.pieces)]).cumsum(0).tolist()
    # Apple's GPUs have no float64.
    device = torch.device("cpu") if model.device.type == "mps" else model.device
    at_shared = torch.empty(starts[-1], len(sites), model.shape.d_model, dtype=torch.float64, device=device)
    prompts = PromptPairs([PromptPair.untasked(piece.ids[side]) for piece in chunk.pieces])
    engine = Engine(model, prompts, memory_gb, "logit_diff")  # no logits are read
    for rows, streamed in engine.stream("clean", sites):
        for index, row in enumerate(rows):
            places = list(chunk.pieces[row].places[side])
            for at, site in enumerate(sites):
                at_shared[starts[row] : starts[row + 1], at] = streamed[site][index, places].to(at_shared)
    return at_shared


def in_other_model(pair: PromptPair, own: Tokens, other: Tokens) -> PromptPair | None:
    """Return the same prompt pair in another model's tokens; None if it cannot be built: see `PromptPair.build`.

    A label goes to the token that ends at the same character, and is left out if there is none.
    """
    ids, own_ends = own.encode_with_ends(pair.clean)
    _, other_ends = other.encode_with_ends(pair.clean)
    if ids != pair.clean_tokens:
        return None
    places = {end: place for place, end in enumerate(other_ends)}
    labels = {
        label: places[own_ends[place]]
        for label, place in pair.labels.items()
        if label not in ("BOS", "END") and own_ends[place] in places
    }
    try:
        built = PromptPair.build(other, pair.clean, pair.corrupted, pair.answers, pair.distractors, lambda _: labels)
    except LabError:
        return None
    return replace(built, frame=pair.frame, group=pair.group, topics=pair.topics)
