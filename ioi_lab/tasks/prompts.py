"""Prompt pairs, which every task makes and every intervention reads, and the base of all tasks."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import TYPE_CHECKING, Final, Self

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

Position = str | int
"""A position in a prompt: `"all"`, a label (`"S2"`), a token index (negative: from the end), or `"all but S2,END"`."""

ALL_BUT: Final = "all but "
"""The start of a position that stands for all tokens except those at some labels."""


@dataclass(frozen=True)
class PromptPair:
    """A clean prompt, its minimally changed twin of the same length, and the right and the wrong next token.

    Tasks make pairs with `PromptPair.build`.
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
    """Token positions by label, such as `S2`."""

    token_strings: tuple[str, ...]
    """The clean prompt's tokens as text, for the axes of figures."""

    frame: str | None = None
    """The sentence with slots for the names, in their order, and for the words that vary: None outside of IOI."""

    group: str | None = None
    """What makes prompts alike, such as their sentence, for statistics over groups; None if the task has no groups."""

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
        """Return the pair of two texts.

        Args:
            tokens: The tokenizer.
            clean: The prompt whose right next token is the answer.
            corrupted: Its twin.
            answer: The right next token, with its leading space.
            distractor: The wrong next token, with its leading space.
            labels: A function that returns the positions of the task's own labels in the clean prompt's token ids. BOS
                (if prompts have it) and END are added.

        Raises:
            LabError: If the prompts differ in length, or answer and distractor are not two different single tokens.

        """
        ids, corrupted_ids = tokens.encode(clean), tokens.encode(corrupted)
        answer_id = single_token(tokens, answer, "answer")
        distractor_id = single_token(tokens, distractor, "distractor")
        if answer_id == distractor_id:
            raise LabError(f"answer and distractor are the same token {answer!r}")
        if len(ids) != len(corrupted_ids):
            raise LabError(f"clean has {len(ids)} tokens and corrupt {len(corrupted_ids)}; they must be equally long")
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
        """Return a pair of tokens without a task, to read activations on ordinary text; END is its only label."""
        return cls("", "", "", "", ids, ids, ids[0], ids[0], {"END": len(ids) - 1}, ("",) * len(ids))

    def __len__(self) -> int:
        return len(self.clean_tokens)

    @property
    def first_difference(self) -> int:
        """The first position at which the prompts differ: before it, a causal model computes the same in both passes.

        The length of the prompt if they are equal.
        """
        differs = (a != b for a, b in zip(self.clean_tokens, self.corrupted_tokens, strict=True))
        return next((position for position, differ in enumerate(differs) if differ), len(self))

    def positions(self, position: Position) -> Sequence[int]:
        """Return the token indices that `position` selects; raises a `LabError` if this prompt does not have it."""
        if position == "all":
            return range(len(self))
        if isinstance(position, str) and position.startswith(ALL_BUT):
            excluded = {self.index(label) for label in labels_but(position)}
            return [index for index in range(len(self)) if index not in excluded]
        return [self.index(position)]

    def index(self, position: Position) -> int:
        """Return the token index of a single position; raises a `LabError` if this prompt does not have it."""
        index = self.labels.get(position) if isinstance(position, str) else position
        if index is None:
            raise LabError(f"position: got {position!r}, expected 'all', an index or one of {', '.join(self.labels)}")
        if not -len(self) <= index < len(self):
            raise LabError(f"position: got {index}, expected an index below {len(self)}, the length of {self.clean!r}")
        return index % len(self)


def all_but(labels: Sequence[str]) -> str:
    """Return the position that stands for all tokens except those at some labels."""
    return ALL_BUT + ",".join(labels)


def labels_but(position: str) -> list[str]:
    """Return the labels that a position of the form `all but S2,END` excludes."""
    return [label.strip() for label in position.removeprefix(ALL_BUT).split(",")]


def single_token(tokens: Tokens, text: str, role: str) -> int:
    """Return the id of a token's text; raises a `LabError` that begins with its `role` unless it is one token."""
    token = tokens.single(text)
    if token is None:
        raise LabError(f"{role} {text!r} is not exactly one token of this model{_hint(tokens, text)}")
    return token


def _hint(tokens: Tokens, text: str) -> str:
    """Return which text close to this one is a single token, for the end of an error."""
    plain = " ".join(text.split())
    single = next((close for close in (f" {plain}", plain) if plain and tokens.single(close) is not None), None)
    if single is not None:
        return f"; {single!r} is, {'with its leading space' if single.startswith(' ') else 'without a blank'}"
    return "" if text.startswith(" ") else " (a leading space may be missing)"


class PromptPairs:
    """An immutable list of prompt pairs. For batching they are grouped by length, never padded.

    `notes`: sentences on how the prompts came about, for the terminal.
    """

    def __init__(self, pairs: Sequence[PromptPair], notes: tuple[str, ...] = ()) -> None:
        if not pairs:
            raise LabError("task: no prompts; at least one is needed")
        self._pairs = tuple(pairs)
        self.notes = notes
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
        """Return one of the pairs as a list of its own."""
        return PromptPairs([self[index]])

    def groups(self) -> list[int] | None:
        """Return the number of each prompt's group; None if some prompt has none."""
        numbers: dict[str, int] = {}
        groups = [pair.group for pair in self if pair.group is not None]
        return [numbers.setdefault(group, len(numbers)) for group in groups] if len(groups) == len(self) else None

    def sentences(self) -> list[int]:
        """Return `groups`; raises a `LabError` if some prompt has none."""
        groups = self.groups()
        if groups is None:
            raise LabError(
                "stats.over: got 'sentences', but these prompts are not marked with their sentences; expected prompts, "
                "or a column named group in the file of task=pairs"
            )
        return groups

    def buckets(self) -> dict[int, list[int]]:
        """Return the indices of the prompts by prompt length, shortest first."""
        by_length = defaultdict(list)
        for index, pair in enumerate(self):
            by_length[len(pair)].append(index)
        return dict(sorted(by_length.items()))

    def labels(self) -> list[str]:
        """Return the position labels that all prompts have, sorted by their average position."""
        return list(self._labels)

    def check_position(self, position: Position, key: str, words: Sequence[str] = ("all",)) -> None:
        """Raise a `LabError` that names `key` unless every prompt has `position`.

        `words` are the values of the key that are neither a label nor an index, for the message.
        """
        if position == "all":
            return
        if isinstance(position, str) and position.startswith(ALL_BUT):
            for label in labels_but(position):
                self.check_position(label, key, words=())
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
        """Return every position that has the same meaning in all prompts.

        These are all indices if the prompts agree in length and in the positions of their labels, else all labels.
        """
        aligned = all(len(pair) == len(self[0]) and pair.labels == self[0].labels for pair in self)
        return list(range(len(self[0]))) if aligned else list(self.labels())

    def position_name(self, position: Position) -> str:
        """Return the name of a position in figures: the label and the token that all prompts share, else the index."""
        if isinstance(position, str):
            return {"all": "all positions"}.get(position, position)
        labels = [label for label in self.labels() if all(pair.labels[label] == position for pair in self)]
        tokens = {pair.token_strings[position].strip() for pair in self}
        if labels:
            return labels[0] if len(tokens) > 1 or labels[0] == "BOS" else f"{tokens.pop()} ({labels[0]})"
        return tokens.pop() if len(tokens) == 1 else f"token {position}"


class Task(LabConfig):
    """The base of all tasks: a checked config that makes prompt pairs."""

    name: str
    only_correct: bool = False
    """Keep only prompts that the model answers: whose answer has a larger logit than the distractor."""

    @property
    def title(self) -> str:
        """The name of the task in figures."""
        return self.name + self.selection

    @property
    def selection(self) -> str:
        """The end of the title: which prompts are kept."""
        return ", answered correctly" if self.only_correct else ""

    @abstractmethod
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return the prompts, tokenized by `tokens`."""
