"""Stitched models: a model that runs on with mapped activations of another one in the place of its own.

The activations are replaced at one site, at all positions that both models share; the model keeps its own at the others
(BOS, and tokens that end within one of the other model's). Model stitching: Lenc & Vedaldi 2015; Bansal et al. 2021
(arXiv 2106.07682); between language models, Chen et al. 2025 (arXiv 2506.06609).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_lab.alignment.text_activations import ReadPiece
from ioi_lab.engine.edits import Site
from ioi_lab.engine.memory import Footprint, MemoryGb, bound_in_bytes, in_gb
from ioi_lab.errors import LabError
from ioi_lab.models.loading import LabModel

NO_TOKEN: Final = -1
"""The next token of a position at the end of a piece."""

_SHARE: Final = 0.5
"""The share of the memory bound that passes may take; the rest is for the activations of texts."""

_VOCABULARIES: Final = 8
"""How many tensors over the vocabulary a step with gradients has in memory at a time."""


@dataclass(frozen=True)
class StitchBatch:
    """Pieces of text of one length, in the tokens of the model that is stitched into (the target)."""

    tokens: Int[Tensor, "row pos"]
    rows: Int[Tensor, "position"]
    places: Int[Tensor, "position"]
    """The row and the place of each shared position."""

    x: Float[Tensor, "position d_x"]
    """The source's activations at the shared positions."""

    next_tokens: Int[Tensor, "position"]
    """The token that follows each shared position, or `NO_TOKEN`."""

    texts: Int[Tensor, "position"]
    """The number of each position's text in the corpus."""

    read_places: Int[Tensor, "position"] | None = None
    """The place whose prediction is read for each position; None for the position itself."""

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, pieces: Sequence[ReadPiece], target_side: int, x_layer: int, device: torch.device) -> StitchBatch:
        """Return a batch of pieces; `x_layer` is the index of the source's layer among those that are read."""
        lengths = torch.tensor([len(each.piece) for each in pieces])
        ids = [each.piece.ids[target_side] for each in pieces]
        places = [each.piece.places[target_side] for each in pieces]
        following = [(*row, NO_TOKEN)[place + 1] for row, of_row in zip(ids, places, strict=True) for place in of_row]
        return cls(
            tokens=torch.tensor(ids, device=device),
            rows=torch.arange(len(pieces)).repeat_interleave(lengths).to(device),
            places=torch.tensor([place for of_row in places for place in of_row], device=device),
            x=torch.cat([each.activations[1 - target_side][:, x_layer] for each in pieces]).to(device),
            next_tokens=torch.tensor(following, device=device),
            texts=torch.tensor([each.piece.text for each in pieces]).repeat_interleave(lengths),
        )


def pieces_by_length(
    pieces: Sequence[ReadPiece], target_side: int, most: int, model: LabModel, memory_gb: MemoryGb
) -> Iterator[list[ReadPiece]]:
    """Yield pieces of one length each, at most `most` and as many as fit the memory bound in a pass with gradients.

    Raises a `LabError` if not even one piece fits.
    """
    by_length: dict[int, list[ReadPiece]] = defaultdict(list)
    for each in pieces:
        by_length[len(each.piece.ids[target_side])].append(each)
    for length, of_length in sorted(by_length.items()):
        size = texts_that_fit(length, most, model, memory_gb)
        for start in range(0, len(of_length), size):
            yield of_length[start : start + size]


def texts_that_fit(length: int, most: int, model: LabModel, memory_gb: MemoryGb) -> int:
    """Return how many texts of one length, `most` at most, fit the memory bound in a pass with gradients.

    Raises a `LabError` if not even one fits.
    """
    bound, footprint = _SHARE * bound_in_bytes(memory_gb, model.device), Footprint.of(model)
    needed = footprint.backward_row(length) + _VOCABULARIES * 4 * length * footprint.d_vocab
    size = min(most, int(bound / needed))
    if size == 0:
        raise LabError(
            f"engine.memory_gb: got {memory_gb}, but a stitched pass over one text of {length} tokens needs "
            f"{in_gb(needed / _SHARE)} ({model.shape.name}); raise the bound"
        )
    return size


def log_probs(
    model: LabModel, site: Site, batch: StitchBatch, replaced: Float[Tensor, "position d_model"] | None
) -> Float[Tensor, "position vocab"]:
    """Return the next-token log-probabilities at the shared positions; `replaced` is written there at the site.

    None for the model with its own activations. If the batch has `read_places`, they are read there.
    """
    read_places = batch.places if batch.read_places is None else batch.read_places

    def write(activation: Tensor, hook: object) -> Tensor:
        assert replaced is not None
        edited = activation.clone()
        edited[batch.rows, batch.places] = replaced.to(activation)
        return edited

    def select(residual: Tensor, hook: object) -> Tensor:
        return residual[batch.rows, read_places][None]

    hooks: list[Any] = [("unembed.hook_in", select)]
    if replaced is not None:
        hooks.append((site.hook, write))
    with model.bridge.hooks(fwd_hooks=hooks):
        logits: Tensor = model.bridge(batch.tokens)
    return logits[0].float().log_softmax(dim=-1)


def kl_from_own(
    own: Float[Tensor, "position vocab"], other: Float[Tensor, "position vocab"]
) -> Float[Tensor, "position"]:
    """Return KL(own ‖ other) in nats, from log-probabilities."""
    return (own.exp() * (own - other)).sum(dim=-1)
