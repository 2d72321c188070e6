"""Prompt pairs, which every task makes and every intervention reads, and the base of all tasks."""

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
from ioi_lab.tasks.answers import as_cell, as_set, distinct_ids, only_one
from ioi_lab.tasks.positions import ALL_BUT, labels_but

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

Position = str | int
"""A position in a prompt: `"all"`, a label (`"S2"`), a token index (negative: from the end), or `"all but S2,END"`."""


@dataclass(frozen=True)
class PromptPair:
    """A clean prompt, its minimally changed twin of the same length, and the right and the wrong next tokens.

    Tasks make pairs with `PromptPair.build`.
    """

    clean: str
    corrupted: str
    answers: tuple[str, ...]
    """The right next tokens: one, or a set whose probabilities are added up."""

    distractors: tuple[str, ...]
    """The wrong ones, of which the same is true."""

    clean_tokens: tuple[int, ...]
    corrupted_tokens: tuple[int, ...]
    answer_ids: tuple[int, ...]
    distractor_ids: tuple[int, ...]
    labels: Mapping[str, int]
    """Token positions by label, such as `S2`."""

    token_strings: tuple[str, ...]
    """The clean prompt's tokens as text, for the axes of figures."""

    frame: str | None = None
    """The sentence with slots for the names, in their order, and for the words that vary: None outside of IOI."""

    group: str | None = None
    """What makes prompts alike, such as their sentence, for statistics over groups; None if the task has no groups."""

    topics: tuple[str, ...] = ()
    """The words that two parts of the prompts must not share, such as the subject of the sentence, if these are not
    the answers and distractors: see `names_of` in `splits`."""

    @classmethod
    def build(
        cls,
        tokens: Tokens,
        clean: str,
        corrupted: str,
        answer: str | Sequence[str],
        distractor: str | Sequence[str],
        labels: Callable[[tuple[int, ...]], Mapping[str, int]] = lambda ids: {},
    ) -> Self:
        """Return the pair of two texts.

        Args:
            tokens: The tokenizer.
            clean: The prompt whose right next token is the answer.
            corrupted: Its twin.
            answer: The right next token, with its leading space, or a set of them.
            distractor: The wrong next token, with its leading space, or a set of them.
            labels: A function that returns the positions of the task's own labels in the clean prompt's token ids. BOS
                (if prompts have it) and END are added.

        Raises:
            LabError: If the prompts differ in length, an answer or a distractor is not a single token, or two of them
                are the same.

        """
        ids, corrupted_ids = tokens.encode(clean), tokens.encode(corrupted)
        answers, distractors = as_set(answer), as_set(distractor)
        answer_ids, distractor_ids = distinct_ids(tokens, answers, distractors)
        if len(ids) != len(corrupted_ids):
            raise LabError(f"clean has {len(ids)} tokens and corrupt {len(corrupted_ids)}; they must be equally long")
        bos = {"BOS": 0} if tokens.prepend_bos else {}
        return cls(
            clean=clean,
            corrupted=corrupted,
            answers=answers,
            distractors=distractors,
            clean_tokens=ids,
            corrupted_tokens=corrupted_ids,
            answer_ids=answer_ids,
            distractor_ids=distractor_ids,
            labels={**bos, **labels(ids), "END": len(ids) - 1},
            token_strings=tokens.strings(ids),
        )

    @classmethod
    def untasked(cls, ids: tuple[int, ...]) -> Self:
        """Return a pair of tokens without a task, to read activations on ordinary text; END is its only label."""
        end, strings = {"END": len(ids) - 1}, ("",) * len(ids)
        return cls("", "", ("",), ("",), ids, ids, ids[:1], ids[:1], end, strings)

    @property
    def answer(self) -> str:
        """The answer as a text; a set of them as in files of prompts: see `as_cell`."""
        return as_cell(self.answers)

    @property
    def distractor(self) -> str:
        """The distractor as a text; a set of them as in files of prompts: see `as_cell`."""
        return as_cell(self.distractors)

    @property
    def answer_id(self) -> int:
        """The answer's token; raises a `LabError` if the prompt has a set of answers."""
        return only_one(self.answer_ids, "answers", self.clean)

    @property
    def distractor_id(self) -> int:
        """The distractor's token; raises a `LabError` if the prompt has a set of distractors."""
        return only_one(self.distractor_ids, "distractors", self.clean)

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
        return hash(tuple((pair.clean_tokens, pair.corrupted_tokens, pair.answer_ids) for pair in self._pairs))

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
        """Return the name of a position, which no other has: `to (END)`, `S1`, `the`, `the (5)` or `token 5`."""
        if isinstance(position, str):
            return {"all": "all positions"}.get(position, position)
        label, token = self._label_at(position), self._token_at(position)
        if label is not None:
            return label if token is None or label == "BOS" else f"{token} ({label})"
        if token is None:
            return f"token {position}"
        others = set(range(self._shortest)) - {position % self._shortest}
        comes_again = any(self._token_at(other) == token and self._label_at(other) is None for other in others)
        return f"{token} ({position})" if comes_again else token

    def _label_at(self, index: int) -> str | None:
        return next((label for label in self.labels() if all(pair.labels[label] == index for pair in self)), None)

    def _token_at(self, index: int) -> str | None:
        tokens = {pair.token_strings[index].strip() for pair in self}
        return tokens.pop() if len(tokens) == 1 else None


class Task(LabConfig):
    """The base of all tasks: a checked config that makes prompt pairs."""

    name: str
    """The name in titles and tables."""

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
