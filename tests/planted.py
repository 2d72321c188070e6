"""The network with a hand-set induction circuit, in a folder of a test, with heads and noise as the test chooses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ioi_lab.models.heads import head_name
from ioi_lab.tasks.induction import InductionTask
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny.induction import INDUCTION, PREVIOUS_TOKEN, Head, write_network


@dataclass(frozen=True)
class Planted:
    """A planted network: its folder, and the layers and heads of its circuit."""

    folder: Path
    previous_token: Head
    induction: Head

    @property
    def names(self) -> set[str]:
        """The names of the circuit's heads, such as `2.3`."""
        return {head_name(head) for head in (self.previous_token, self.induction)}


def plant(
    folder: Path,
    *,
    previous_token: Head = PREVIOUS_TOKEN,
    induction: Head = INDUCTION,
    noise: float = 0.01,
    seed: int = 0,
) -> Planted:
    """Save the network and its tokenizer."""
    write_network(folder, previous_token=previous_token, induction=induction, noise=noise, seed=seed)
    return Planted(folder, previous_token, induction)


def prompt_pairs(tokens: Tokens, n: int, seed: int = 0) -> PromptPairs:
    """Return the prompts of `task=induction`."""
    return InductionTask(n=n, seed=seed).prompt_pairs(tokens)
