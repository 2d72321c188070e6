"""The tokens of answers and distractors, and how their logits become two per prompt.

A set of tokens counts as one outcome: its probability is the sum of theirs, and its logit log Σ exp(logit), so that the
difference of two such logits is the log of the ratio of the two probabilities. For sets of one token these are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ioi_lab.tasks.prompts import PromptPair


@dataclass(frozen=True, eq=False)
class Targets:
    """The answers and distractors of some prompts, a row for each. Rows with fewer than others are filled with 0."""

    ids: Int[Tensor, "row token"]
    """Each row's answers, then its distractors."""

    n_answers: int
    """The number of columns of answers."""

    missing: Bool[Tensor, "row token"] | None
    """The places that are filled; None if there are none."""

    @classmethod
    def of(cls, pairs: Sequence[PromptPair], device: torch.device) -> Self:
        """Return the targets of prompts."""
        sets = [pair.answer_ids for pair in pairs], [pair.distractor_ids for pair in pairs]
        widths = [max(map(len, ids)) for ids in sets]
        rows = [
            [token for ids, width in zip(both, widths, strict=True) for token in (*ids, *[-1] * (width - len(ids)))]
            for both in zip(*sets, strict=True)
        ]
        padded = torch.tensor(rows, device=device)
        missing = padded < 0
        return cls(padded.clamp_min(0), widths[0], missing if missing.any() else None)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def are_single(self) -> bool:
        """Whether every row has one answer and one distractor."""
        return self.ids.shape[1] == 2

    def select(self, rows: Int[Tensor, "some"]) -> Self:
        """Return the targets of some of the rows."""
        return type(self)(self.ids[rows], self.n_answers, None if self.missing is None else self.missing[rows])

    def read(self, values: Float[Tensor, "... row vocab"]) -> Float[Tensor, "... row 2"]:
        """Return the logits, or log-probabilities, of each row's answers and of its distractors."""
        return self.joined(self._gathered(values))

    def joined(self, values: Float[Tensor, "... row token"]) -> Float[Tensor, "... row 2"]:
        """Return log Σ exp over the answers and over the distractors, given the values of all tokens in `ids`."""
        if self.are_single:
            return values
        if self.missing is not None:
            values = values.masked_fill(self.missing, -torch.inf)
        parts = values[..., : self.n_answers], values[..., self.n_answers :]
        return torch.stack([part.logsumexp(dim=-1) for part in parts], dim=-1)

    def rank(self, values: Float[Tensor, "... row vocab"]) -> Int[Tensor, "... row"]:
        """Return the rank of each row's likeliest answer among all tokens: 1 if no token has a larger value."""
        read = self._gathered(values)
        if self.missing is not None:
            read = read.masked_fill(self.missing, -torch.inf)
        best = read[..., : self.n_answers].amax(dim=-1, keepdim=True)
        return 1 + (values > best).sum(dim=-1)

    def _gathered(self, values: Float[Tensor, "... row vocab"]) -> Float[Tensor, "... row token"]:
        return values.gather(-1, self.ids.expand(*values.shape[:-2], -1, -1))
