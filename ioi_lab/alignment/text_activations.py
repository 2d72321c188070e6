"""Texts in memory, with the activations of both models at their shared positions, to train and try maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.positions import HELD_OUT, Chunk, SharedPiece
from ioi_lab.alignment.reading import Reader
from ioi_lab.engine.memory import bound_in_bytes, in_gb
from ioi_lab.errors import LabError

_SHARE: Final = 0.5
"""The share of the memory bound that the activations of texts may take; the rest is for passes."""


@dataclass(frozen=True)
class ReadPiece:
    """A piece of a text with the activations of both models at its shared positions, in float32."""

    piece: SharedPiece
    activations: tuple[Float[Tensor, "position source_layer d"], Float[Tensor, "position target_layer d"]]


def read_pieces(reader: Reader, pairing: Pairing, n_texts: int, key: str, *, held_out: bool) -> list[ReadPiece]:
    """Return the pieces of the first `n_texts` texts that maps are fitted to, or of those that they are tried on.

    Raises a `LabError` that names the config key `key` of the number if the activations exceed the memory bound.
    """
    bound = _SHARE * bound_in_bytes(pairing.memory_gb, pairing.models[0].device)
    read: list[ReadPiece] = []
    texts: set[int] = set()
    n_bytes = 0
    for chunk in reader.chunks("reading again"):
        pieces = [piece for piece in chunk.pieces if (piece.fold == HELD_OUT) == held_out]
        wanted = set(list(dict.fromkeys(piece.text for piece in pieces))[: n_texts - len(texts)])
        some = replace(chunk, pieces=tuple(piece for piece in pieces if piece.text in wanted))
        if some.pieces:
            read += _with_activations(some, pairing)
        n_bytes += sum(tensor.nbytes for each in read[len(read) - len(some.pieces) :] for tensor in each.activations)
        texts |= wanted
        if n_bytes > bound:
            raise LabError(
                f"engine.memory_gb: the activations of {len(texts)} texts take more than {in_gb(bound)} GB, half of "
                f"the bound; choose a smaller {key} or fewer layers, or raise the bound"
            )
        if len(texts) == n_texts:
            break
    return read


def _with_activations(chunk: Chunk, pairing: Pairing) -> Iterator[ReadPiece]:
    source, target = (side.float() for side in pairing.activations(chunk))
    start = 0
    for piece in chunk.pieces:
        rows = slice(start, start + len(piece))
        yield ReadPiece(piece, (source[rows].clone(), target[rows].clone()))
        start += len(piece)


def joined_activations(
    pieces: Sequence[ReadPiece], side: int, layer: int, folds: Sequence[int] | None = None
) -> Float[Tensor, "position d"]:
    """Return the activations of a model (`side` 0 or 1) in a layer, given by index; of some folds alone if given."""
    chosen = [each for each in pieces if folds is None or each.piece.fold in folds]
    return torch.cat([each.activations[side][:, layer] for each in chosen])
