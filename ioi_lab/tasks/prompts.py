"""Prompt pairs: what every task yields and every intervention reads."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from ioi_lab.errors import LabError
from ioi_lab.schema import LabConfig

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

Position = str | int
"""Where in a prompt: `"all"`, a label (`"S2"`), or a token index (negative counts from the end)."""


@dataclass(frozen=True)
class PromptPair:
    """A clean prompt, its minimally changed twin of the same length, and the two next tokens to tell apart."""

    clean: str
    corrupted: str
    answer: str
    distractor: str
    clean_tokens: tuple[int, ...]
    corrupted_tokens: tuple[int, ...]
    answer_id: int
    distractor_id: int
    labels: Mapping[str, int]
    token_strings: tuple[str, ...]
    """The clean prompt's tokens as text, for the axes of figures."""

    def __post_init__(self) -> None:
        if len(self.clean_tokens) != len(self.corrupted_tokens):
            raise LabError(
                f"prompts must line up: clean has {len(self.clean_tokens)} tokens, corrupted "
                f"{len(self.corrupted_tokens)}: {self.clean!r} / {self.corrupted!r}"
            )

    def __len__(self) -> int:
        return len(self.clean_tokens)

    def positions(self, position: Position) -> range:
        """The token indices that `position` selects in this prompt."""
        if position == "all":
            return range(len(self))
        index = self.labels.get(position) if isinstance(position, str) else position
        if index is None:
            raise LabError(f"position: got {position!r}, expected 'all', an index or one of {', '.join(self.labels)}")
        if not -len(self) <= index < len(self):
            raise LabError(f"position: got {index}, expected an index below {len(self)}, the length of {self.clean!r}")
        return range(index % len(self), index % len(self) + 1)


class PromptPairs:
    """An immutable list of prompt pairs, grouped by length for batching: never padded into one another."""

    def __init__(self, pairs: Sequence[PromptPair]) -> None:
        if not pairs:
            raise LabError("task: no prompts; at least one is needed")
        self._pairs = tuple(pairs)
        self._shortest = min(len(pair) for pair in pairs)
        shared = [label for label in pairs[0].labels if all(label in pair.labels for pair in pairs)]
        self._labels = sorted(shared, key=lambda label: mean(pair.labels[label] for pair in pairs))

    def __getitem__(self, index: int) -> PromptPair:
        return self._pairs[index]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[PromptPair]:
        return iter(self._pairs)

    def buckets(self) -> dict[int, list[int]]:
        """Prompt indices by prompt length, shortest first."""
        by_length = defaultdict(list)
        for index, pair in enumerate(self):
            by_length[len(pair)].append(index)
        return dict(sorted(by_length.items()))

    def labels(self) -> list[str]:
        """The position labels that every prompt has, in the order in which they stand on average."""
        return list(self._labels)

    def check_position(self, position: Position, key: str, words: Sequence[str] = ("all",)) -> None:
        """Raise a `LabError` that names `key`, and the `words` that it takes, unless every prompt has `position`."""
        if position == "all":
            return
        if isinstance(position, str) and position not in self._labels:
            choices = ", ".join([*words, *self._labels])
            raise LabError(f"{key}: got {position!r}, expected one of {choices}, or a token index")
        if isinstance(position, int) and not -self._shortest <= position < self._shortest:
            raise LabError(f"{key}: got {position}, expected an index from {-self._shortest} to {self._shortest - 1}")

    def each_position(self) -> list[Position]:
        """Every position that means the same in all prompts.

        Each index where all prompts have one length and their labels at the same places, else each label.
        """
        aligned = all(len(pair) == len(self[0]) and pair.labels == self[0].labels for pair in self)
        return list(range(len(self[0]))) if aligned else list(self.labels())

    def position_name(self, position: Position) -> str:
        """How a figure calls `position`: its label and token as far as all prompts share them, else its index."""
        if isinstance(position, str):
            return position
        labels = [label for label in self.labels() if all(pair.labels[label] == position for pair in self)]
        tokens = {pair.token_strings[position].strip() for pair in self}
        if labels:
            return labels[0] if len(tokens) > 1 or labels[0] == "BOS" else f"{tokens.pop()} ({labels[0]})"
        return tokens.pop() if len(tokens) == 1 else f"token {position}"


class Task(LabConfig):
    """Base of all tasks: a checked config that can make prompt pairs."""

    name: str

    @abstractmethod
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """The prompts, tokenized by `tokens`."""
