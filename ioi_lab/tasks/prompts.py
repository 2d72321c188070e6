"""Prompt pairs: what every task yields and every intervention reads."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import TYPE_CHECKING, Self

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

Position = str | int
"""Where in a prompt: `"all"`, a label (`"S2"`), or a token index (negative counts from the end)."""


@dataclass(frozen=True)
class PromptPair:
    """A clean prompt, its minimally changed twin of the same length, and the two next tokens to tell apart.

    Tasks make it with `PromptPair.build`.
    """

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

    @classmethod
    def build(
        cls,
        tokens: Tokens,
        clean: str,
        corrupted: str,
        answer: str,
        distractor: str,
        labels: Callable[[tuple[int, ...]], Mapping[str, int]] = lambda ids: {},
    ) -> Self:
        """Tokenize a pair. `labels` gives the positions of the task's own labels; BOS and END are added.

        Raises a `LabError` unless clean and corrupted have equally many tokens and answer and distractor (their leading
        space included) are two different single tokens.
        """
        ids, corrupted_ids = tokens.encode(clean), tokens.encode(corrupted)
        answer_id = single_token(tokens, answer, "answer")
        distractor_id = single_token(tokens, distractor, "distractor")
        if answer_id == distractor_id:
            raise LabError(f"answer and distractor are the same token {answer!r}")
        if len(ids) != len(corrupted_ids):
            raise LabError(f"clean has {len(ids)} tokens and corrupt {len(corrupted_ids)}; they must line up")
        bos = {"BOS": 0} if tokens.prepend_bos else {}
        return cls(
            clean=clean,
            corrupted=corrupted,
            answer=answer,
            distractor=distractor,
            clean_tokens=ids,
            corrupted_tokens=corrupted_ids,
            answer_id=answer_id,
            distractor_id=distractor_id,
            labels={**bos, **labels(ids), "END": len(ids) - 1},
            token_strings=tokens.strings(ids),
        )

    @classmethod
    def untasked(cls, ids: tuple[int, ...]) -> Self:
        """Tokens alone, with nothing to answer: for what is read of activations on text of any kind."""
        return cls("", "", "", "", ids, ids, ids[0], ids[0], {"END": len(ids) - 1}, ("",) * len(ids))

    def __len__(self) -> int:
        return len(self.clean_tokens)

    @property
    def first_difference(self) -> int:
        """The first position at which the runs differ; up to there a causal model computes the same in both."""
        differs = (a != b for a, b in zip(self.clean_tokens, self.corrupted_tokens, strict=True))
        return next((position for position, differ in enumerate(differs) if differ), len(self))

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


def single_token(tokens: Tokens, text: str, role: str) -> int:
    """The id of `text`, leading space included; a `LabError` that begins with its `role` unless it is one token."""
    token = tokens.single(text)
    if token is None:
        hint = "" if text.startswith(" ") else " (a leading space may be missing)"
        raise LabError(f"{role} {text!r} is not exactly one token of this model{hint}")
    return token


class PromptPairs:
    """An immutable list of prompt pairs, grouped by length for batching: never padded into one another."""

    def __init__(self, pairs: Sequence[PromptPair]) -> None:
        if not pairs:
            raise LabError("task: no prompts; at least one is needed")
        self._pairs = tuple(pairs)
        self._shortest = min(len(pair) for pair in pairs)
        self.longest = max(len(pair) for pair in pairs)
        shared = [label for label in pairs[0].labels if all(label in pair.labels for pair in pairs)]
        self._labels = sorted(shared, key=lambda label: mean(pair.labels[label] for pair in pairs))

    def __getitem__(self, index: int) -> PromptPair:
        return self._pairs[index]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[PromptPair]:
        return iter(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptPairs) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple((pair.clean_tokens, pair.corrupted_tokens, pair.answer_id) for pair in self._pairs))

    def only(self, index: int) -> PromptPairs:
        """One of the prompts, alone."""
        return PromptPairs([self[index]])

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

    def check_index(self, index: int, key: str) -> None:
        """Raise a `LabError` that names `key` unless there is a prompt with this index."""
        if not 0 <= index < len(self):
            raise LabError(f"{key}: got {index}, expected the index of a prompt, 0 to {len(self) - 1}")

    def each_position(self) -> list[Position]:
        """Every position that means the same in all prompts.

        Each index where all prompts have one length and their labels at the same places, else each label.
        """
        aligned = all(len(pair) == len(self[0]) and pair.labels == self[0].labels for pair in self)
        return list(range(len(self[0]))) if aligned else list(self.labels())

    def position_name(self, position: Position) -> str:
        """How a figure calls `position`: its label and token as far as all prompts share them, else its index."""
        if isinstance(position, str):
            return "all positions" if position == "all" else position
        labels = [label for label in self.labels() if all(pair.labels[label] == position for pair in self)]
        tokens = {pair.token_strings[position].strip() for pair in self}
        if labels:
            return labels[0] if len(tokens) > 1 or labels[0] == "BOS" else f"{tokens.pop()} ({labels[0]})"
        return tokens.pop() if len(tokens) == 1 else f"token {position}"


class Task(LabConfig):
    """Base of all tasks: a checked config that can make prompt pairs."""

    name: str

    @property
    def title(self) -> str:
        """The task in figures."""
        return self.name

    @abstractmethod
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """The prompts, tokenized by `tokens`."""
