"""Where two models have read the same: positions whose tokens end at the same character of a text.

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
"""About so many tokens of either model are read at a time."""

HELD_OUT: Final = -1


@dataclass(frozen=True)
class Shared:
    """A piece of text in two models: the ids of each, and in each the positions that end at the same characters."""

    ids: tuple[tuple[int, ...], tuple[int, ...]]
    places: tuple[tuple[int, ...], tuple[int, ...]]
    fold: int
    text: int
    """The number of the corpus's text that it is from."""

    @classmethod
    def of(cls, piece: str, models: tuple[LabModel, LabModel], fold: int, text: int, *, last: bool) -> Self:
        """As far as either model reads the text; BOS, which has read nothing, is left out.

        `last`: where the whole piece has been read, alone.
        """
        read = [model.tokens.encode_with_ends(piece) for model in models]
        ids = [tokens[: model.shape.n_ctx] for model, (tokens, _) in zip(models, read, strict=True)]
        # Tokens that share a character end at the same one: the last of them has read it all.
        at_end = [
            {end: place for place, end in enumerate(ends[: len(kept)]) if end > 0}
            for kept, (_, ends) in zip(ids, read, strict=True)
        ]
        common = sorted(at_end[0].keys() & at_end[1].keys() & ({len(piece)} if last else at_end[0].keys()))
        first, second = (tuple(places[end] for end in common) for places in at_end)
        return cls((ids[0], ids[1]), (first, second), fold, text)

    def __len__(self) -> int:
        return len(self.places[0])


@dataclass(frozen=True)
class Split:
    """What of a corpus is for what: texts to try maps on and folds of the others, by a hash of the text.

    `last`: the last position of each piece of text alone.
    """

    held_out: float
    folds: int
    seed: int
    last: bool = False

    def fold(self, text: str) -> int:
        """The fold of a text, or `HELD_OUT`."""
        digest = hashlib.sha256(f"{self.seed} {text}".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        if draw < self.held_out:
            return HELD_OUT
        return min(self.folds - 1, int((draw - self.held_out) / (1 - self.held_out) * self.folds))


@dataclass(frozen=True)
class Chunk:
    """Some pieces of text, and how many texts of the corpus have been read at its end."""

    pieces: tuple[Shared, ...]
    texts_read: int

    @property
    def held_out(self) -> Chunk:
        """The pieces of the texts that are not fitted on."""
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


def chunks_of(texts: Iterable[str], models: tuple[LabModel, LabModel], split: Split, start: int = 0) -> Iterator[Chunk]:
    """The pieces of texts that have shared positions, in chunks that end with a text.

    From the end of a chunk (`start` texts are skipped), the same chunks follow as did before.
    """
    pieces: list[Shared] = []
    held, count = 0, 0
    for count, text in enumerate(texts, start=1):
        if count <= start:
            continue
        fold = split.fold(text)
        found = [Shared.of(piece, models, fold, count, last=split.last) for piece in pieces_of(text)]
        pieces += [piece for piece in found if len(piece)]
        held += max(sum(len(piece.ids[side]) for piece in found) for side in (0, 1))
        if held >= CHUNK:
            yield Chunk(tuple(pieces), count)
            pieces, held = [], 0
    if pieces:
        yield Chunk(tuple(pieces), count)


def activations_of(
    model: LabModel, chunk: Chunk, side: int, sites: Sequence[Site], memory_gb: MemoryGb
) -> Float[Tensor, "position site d_model"]:
    """What a model (`side` 0 or 1) holds at the shared positions, piece by piece, in float64."""
    starts = torch.tensor([0, *(len(piece) for piece in chunk.pieces)]).cumsum(0).tolist()
    # No float64 on Apple's GPUs.
    device = torch.device("cpu") if model.device.type == "mps" else model.device
    held = torch.empty(starts[-1], len(sites), model.shape.d_model, dtype=torch.float64, device=device)
    prompts = PromptPairs([PromptPair.untasked(piece.ids[side]) for piece in chunk.pieces])
    engine = Engine(model, prompts, memory_gb, "logit_diff")  # no logits are read
    for rows, activations in engine.stream("clean", sites):
        for index, row in enumerate(rows):
            places = list(chunk.pieces[row].places[side])
            for at, site in enumerate(sites):
                held[starts[row] : starts[row + 1], at] = activations[site][index, places].to(held)
    return held


def in_other_model(pair: PromptPair, own: Tokens, other: Tokens) -> PromptPair | None:
    """The same prompt pair for another tokenizer; None where it cannot read it: see `PromptPair.build`.

    Labels go to the tokens that end at the same character; those without one are left out.
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
        return PromptPair.build(other, pair.clean, pair.corrupted, pair.answer, pair.distractor, lambda _: labels)
    except LabError:
        return None
