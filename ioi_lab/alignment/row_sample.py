"""Activations of a few positions that are kept in memory while a corpus is read: one position of each of some texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_lab.alignment.config import MAX_ANCHORS

SAMPLE_ROWS: Final = MAX_ANCHORS
"""The greatest number of texts in a sample: they are anchors of maps, and what CKA is computed on."""

_EMPTY: Final = 2.0
"""The draw of a row that has no text yet; those of texts are below 1."""


@dataclass(frozen=True)
class RowSample:
    """One random position of each of at most `SAMPLE_ROWS` texts, drawn from all texts with equal probability.

    Each text draws a number, and the texts with the smallest numbers are kept, so that the sample does not depend on
    how the corpus is divided into chunks. Rows are of different texts, as a permutation test requires.
    """

    draws: Float[Tensor, "row"]
    source: Float[Tensor, "row source_layer d_source"]
    target: Float[Tensor, "row target_layer d_target"]

    @classmethod
    def empty(cls, source: tuple[int, int], target: tuple[int, int], device: torch.device | str = "cpu") -> Self:
        """Return a sample without texts; `source` and `target` are the number of layers and the width of a model."""
        draws = torch.full((SAMPLE_ROWS,), _EMPTY, dtype=torch.float64, device=device)
        return cls(draws, *(draws.new_zeros((SAMPLE_ROWS, *size)) for size in (source, target)))

    @staticmethod
    def bytes(source: tuple[int, int], target: tuple[int, int]) -> int:
        """Return the size in bytes of a sample for this many layers of these widths."""
        return 8 * SAMPLE_ROWS * (1 + source[0] * source[1] + target[0] * target[1])

    def add(self, texts: Int[Tensor, "position"], source: Tensor, target: Tensor, seed: int) -> None:
        """Add texts, in place, given the number of each position's text and activations `[position, layer, d_model]`.

        All positions of a text have to be given at once.
        """
        if not len(texts):
            return
        numbers, counts = torch.unique_consecutive(texts, return_counts=True)
        drawn = torch.from_numpy(np.stack([np.random.default_rng([seed, int(n)]).random(2) for n in numbers]))
        rows = (counts.cumsum(0) - counts + (drawn[:, 1] * counts).long()).to(source.device)
        draws = torch.cat([self.draws, drawn[:, 0].to(self.draws)])
        kept = draws.argsort(stable=True)[: len(self.draws)]
        self.draws.copy_(draws[kept])
        for own, new in ((self.source, source), (self.target, target)):
            own.copy_(torch.cat([own, new[rows]])[kept])

    def __len__(self) -> int:
        return int((self.draws < _EMPTY).sum())

    @property
    def rows(self) -> tuple[Float[Tensor, "row source_layer d_source"], Float[Tensor, "row target_layer d_target"]]:
        """The activations of both models, a row per text."""
        return self.source[: len(self)], self.target[: len(self)]

    def pair(self, source_layer: int, target_layer: int, *, backward: bool = False) -> tuple[Tensor, Tensor]:
        """Return the rows `[row, d]` of x and y of a pair of layers, given by index."""
        x, y = self.source[: len(self), source_layer], self.target[: len(self), target_layer]
        return (y, x) if backward else (x, y)
