"""Prompts of one length as tensors: they share a forward pass without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from ioi_lab.engine.edits import Edit, FromPass, Pass
from ioi_lab.engine.targets import Targets
from ioi_lab.tasks.prompts import Position, PromptPairs

Places = tuple[Int[Tensor, "place"], Int[Tensor, "place"]]
"""Row and position of each of some places in a bucket."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """Some prompts of one length on the model's device; `rows` are their indices among all prompts."""

    prompts: PromptPairs
    rows: Sequence[int]
    device: torch.device
    _places: dict[Position, Places] = field(init=False, default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def length(self) -> int:
        """The number of tokens of each prompt."""
        return len(self.prompts[self.rows[0]])

    # The tensors are made when they are first needed: a bucket whose recordings are there needs none.

    @cached_property
    def index(self) -> Int[Tensor, "row"]:
        """The indices of the prompts among all prompts."""
        return self._tensor(list(self.rows))

    @cached_property
    def targets(self) -> Targets:
        """The tokens of each prompt's answers and distractors."""
        return Targets.of([self.prompts[row] for row in self.rows], self.device)

    @cached_property
    def _tokens(self) -> dict[Pass, Int[Tensor, "row pos"]]:
        pairs = [self.prompts[row] for row in self.rows]
        return {
            "clean": self._tensor([pair.clean_tokens for pair in pairs]),
            "corrupted": self._tensor([pair.corrupted_tokens for pair in pairs]),
        }

    def tokens(self, which: Pass) -> Int[Tensor, "row pos"]:
        """Return the tokens of the clean or the corrupted prompts."""
        return self._tokens[which]

    def places(self, position: Position) -> Places:
        """Return the places of a position in each prompt."""
        if position not in self._places:
            found = [(i, p) for i, row in enumerate(self.rows) for p in self.prompts[row].positions(position)]
            selected = self._tensor(found).reshape(-1, 2)
            self._places[position] = selected[:, 0], selected[:, 1]
        return self._places[position]

    def first_change(self, edit: Edit, base: Pass, *, end_only: bool) -> int:
        """Return the first position that the edit can change in any of the prompts; `length` if it can change none.

        Writing the other pass's activation changes nothing before the first token that differs. `end_only`: of the
        positions that the edit changes, only END is read later.
        """
        from_other_pass = edit.operation == "replace" and isinstance(edit.value, FromPass) and edit.value.which != base
        changes = []
        for row in self.rows:
            pair = self.prompts[row]
            positions = pair.positions(edit.site.position)
            changed_from = pair.first_difference if from_other_pass else 0
            if end_only:
                changed_from = max(changed_from, self.length - 1)
            changes.append(min((index for index in positions if index >= changed_from), default=self.length))
        return min(changes)

    def _tensor(self, values: object) -> Tensor:
        return torch.tensor(values, device=self.device)
