"""Contrasts: the two sides of the prompts that a steering vector separates, and the prompts on which it is tried.

Each prompt gets a pair of prompts whose clean one belongs to the positive side and whose corrupted one belongs to the
negative side. Vectors are made from one half of a task's prompts and tried on prompts of the other half, with other
names. A contrast is one function, which the decorator `contrast_kind` registers together with what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.registry import Registry, name_in
from ioi_lab.steering.splits import halves_by_name, halves_by_prompt
from ioi_lab.tasks.answers import single_token
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.tokens import Tokens


@dataclass(frozen=True)
class ContrastPrompt:
    """A prompt to steer, with the two sides of its contrast."""

    steered: PromptPair

    sides: PromptPair
    """Clean: the positive side; corrupted: the negative side."""

    sign: int
    """1 if the prompt's answer lies on the positive side, −1 if it lies on the negative side."""


ContrastFunction = Callable[[Sequence[PromptPair], Tokens, tuple[str, str]], list[ContrastPrompt]]
"""Makes the contrast of prompts, given the model's tokens and the two names of `intervention.names`."""


@dataclass(frozen=True)
class ContrastKind:
    """A way to make the two sides of prompts, and what it needs."""

    function: ContrastFunction

    positive: str
    """What an answer on the positive side is called, for reports."""

    negative: str
    """What an answer on the negative side is called, for reports."""

    labels: tuple[str, ...]
    """The position labels that each prompt must have."""

    replaces_names: bool
    """Whether all prompts get the two names of `intervention.names`, so that the halves cannot differ by name."""


CONTRASTS: Final[Registry[ContrastKind]] = Registry("contrast")

ContrastName = name_in(CONTRASTS)
"""The type of a config key that names a contrast."""


def contrast_kind(
    name: str, *, positive: str, negative: str, labels: tuple[str, ...] = (), replaces_names: bool = False
) -> Callable[[ContrastFunction], ContrastFunction]:
    """Return a decorator that registers a function as a contrast; the arguments are those of `ContrastKind`."""

    def register(function: ContrastFunction) -> ContrastFunction:
        CONTRASTS.register(name)(ContrastKind(function, positive, negative, labels, replaces_names))
        return function

    return register


@dataclass(frozen=True)
class Contrast:
    """The prompts that a vector is made from, and those that it is tried on."""

    training: tuple[ContrastPrompt, ...]
    held_out: tuple[ContrastPrompt, ...]

    names_differ: bool
    """Whether the halves share neither answers nor distractors."""

    n_dropped: int
    """The number of prompts that are left out, since their names occur in both halves."""

    @cached_property
    def training_sides(self) -> PromptPairs:
        """The sides of the prompts that the vector is made from. Clean: positive, corrupted: negative."""
        return PromptPairs([prompt.sides for prompt in self.training])

    @cached_property
    def held_out_sides(self) -> PromptPairs:
        """The sides of the prompts that are steered. Clean: positive, corrupted: negative."""
        return PromptPairs([prompt.sides for prompt in self.held_out])

    @cached_property
    def steered(self) -> PromptPairs:
        """The prompts that are steered."""
        return PromptPairs([prompt.steered for prompt in self.held_out])

    @cached_property
    def signs(self) -> list[int]:
        """The direction along the vector in which the answer of each steered prompt lies: 1 or −1."""
        return [prompt.sign for prompt in self.held_out]


def contrast_of(
    name: str, prompts: PromptPairs, tokens: Tokens, names: tuple[str, str] = ("James", "Robert"), seed: int = 0
) -> Contrast:
    """Split the prompts and make the sides of both halves.

    Args:
        name: A registered contrast.
        prompts: The prompts to split.
        tokens: The tokens of the model that reads the prompts.
        names: The two names of a contrast that replaces those of the prompts.
        seed: Draws the split.

    Raises:
        LabError: There is no such contrast; there are fewer than two prompts; a prompt does not have the labels that
            the contrast needs; or the names are not single tokens.

    """
    return _contrast_of(CONTRASTS[name], name, prompts, tokens, names, seed)


@lru_cache(maxsize=4)  # the jobs of a multirun share their contrasts
def _contrast_of(
    kind: ContrastKind, name: str, prompts: PromptPairs, tokens: Tokens, names: tuple[str, str], seed: int
) -> Contrast:
    if len(prompts) < 2:
        raise LabError(
            f"intervention.contrast: got {len(prompts)} prompt, which leaves one side of the split empty; expected 2 "
            "or more (task.n)"
        )
    by_name = None if kind.replaces_names else halves_by_name(prompts, seed)
    training, held_out = by_name or halves_by_prompt(len(prompts), seed)
    pairs = [prompts[row] for row in (*training, *held_out)]
    _check_labels(pairs, kind.labels, name)
    made = kind.function(pairs, tokens, names)
    return Contrast(
        training=tuple(made[: len(training)]),
        held_out=tuple(made[len(training) :]),
        names_differ=by_name is not None,
        n_dropped=len(prompts) - len(made),
    )


def without_names(contrast: Contrast, names: Sequence[str]) -> Contrast:
    """Return a contrast that steers all prompts whose answer and distractor are not among the names.

    For a vector that was made from prompts with these `names`. Raises a `LabError` if no prompt is left.
    """
    kept = tuple(
        prompt
        for prompt in (*contrast.training, *contrast.held_out)
        if set(names).isdisjoint((*prompt.steered.answers, *prompt.steered.distractors))
    )
    if not kept:
        raise LabError("intervention.vector: every prompt has a name that the vector was made from; change task.seed")
    return replace(contrast, training=(), held_out=kept, names_differ=True, n_dropped=0)


def with_tokens(pair: PromptPair, tokens: Tokens, clean: tuple[int, ...], corrupted: tuple[int, ...]) -> PromptPair:
    """Return the pair with other tokens in the same places."""
    return replace(
        pair,
        clean=tokens.text(clean),
        corrupted=tokens.text(corrupted),
        clean_tokens=clean,
        corrupted_tokens=corrupted,
        token_strings=tokens.strings(clean),
    )


@contrast_kind("clean_corrupt", positive="clean", negative="corrupted")
def clean_corrupt(pairs: Sequence[PromptPair], tokens: Tokens, names: tuple[str, str]) -> list[ContrastPrompt]:
    """Return the prompts as they are: the clean prompt against the corrupted one."""
    return [ContrastPrompt(pair, pair, sign=1) for pair in pairs]


@contrast_kind(
    "two_answers", positive="answer is the last of two by alphabet", negative="answer is the first by alphabet"
)
def two_answers(pairs: Sequence[PromptPair], tokens: Tokens, names: tuple[str, str]) -> list[ContrastPrompt]:
    """Return the twins of each pair with one of two answers against those with the other: she − he in pronouns.

    The last answer in alphabetical order is positive. Raises a `LabError` unless all pairs have the same two answers.
    """
    answers = sorted({answer for pair in pairs for answer in (pair.answer, pair.distractor)})[::-1]
    if len(answers) != 2 or any(len(pair.answers) > 1 or pair.answer == pair.distractor for pair in pairs):
        raise LabError(
            f"intervention.contrast: two_answers needs prompts that all have the same two answers, as those of "
            f"task=gendered_pronoun; got {len(answers)} different ones; expected clean_corrupt for prompts of any kind"
        )
    return [
        ContrastPrompt(pair, pair, sign=1)
        if pair.answer == answers[0]
        else ContrastPrompt(pair, with_tokens(pair, tokens, pair.corrupted_tokens, pair.clean_tokens), sign=-1)
        for pair in pairs
    ]


@contrast_kind("answer_position", positive="answer named first", negative="answer named second", labels=("IO", "S1"))
def answer_position(pairs: Sequence[PromptPair], tokens: Tokens, names: tuple[str, str]) -> list[ContrastPrompt]:
    """Return each prompt with the answer named first, against the same prompt with the distractor named first.

    So every name occurs on both sides equally often.
    """
    return [_answer_position(pair, tokens) for pair in pairs]


def _answer_position(pair: PromptPair, tokens: Tokens) -> ContrastPrompt:
    io, subject = pair.labels["IO"], pair.labels["S1"]
    swapped = list(pair.clean_tokens)
    swapped[io], swapped[subject] = swapped[subject], swapped[io]
    own, other = pair.clean_tokens, tuple(swapped)
    answer_first = io < subject
    sides = with_tokens(pair, tokens, *((own, other) if answer_first else (other, own)))
    return ContrastPrompt(pair, sides, sign=1 if answer_first else -1)


@contrast_kind(
    "name_pair",
    positive="answer is the first name",
    negative="answer is the second name",
    labels=("IO", "S1", "S2"),
    replaces_names=True,
)
def name_pair(pairs: Sequence[PromptPair], tokens: Tokens, names: tuple[str, str]) -> list[ContrastPrompt]:
    """Return each prompt with the two `names` in place of its own: the first as the answer, against the second.

    Over all `pairs`, in their order, the two names take turns as the answer, for each order of the names by itself: a
    part of the pairs may have one name more often.
    """
    texts = [f" {name.strip()}" for name in names]
    ids = [single_token(tokens, text, "intervention.names:") for text in texts]
    if ids[0] == ids[1]:
        raise LabError(f"intervention.names: got {texts[0].strip()!r} twice; expected two different names")
    counts = {True: 0, False: 0}  # of the prompts so far, by whether the answer is named first
    made = []
    for pair in pairs:
        answer_first = pair.labels["IO"] < pair.labels["S1"]
        answer = counts[answer_first] % 2
        counts[answer_first] += 1
        versions = [_renamed(pair, tokens, texts, ids, answer) for answer in (0, 1)]
        sides = with_tokens(versions[0], tokens, versions[0].clean_tokens, versions[1].clean_tokens)
        made.append(ContrastPrompt(versions[answer], sides, sign=1 if answer == 0 else -1))
    return made


def _renamed(pair: PromptPair, tokens: Tokens, texts: Sequence[str], ids: Sequence[int], answer: int) -> PromptPair:
    """Return the pair with one of the two names as its answer and the other as its distractor."""
    new_ids = {pair.answer_id: ids[answer], pair.distractor_id: ids[1 - answer]}
    places = {pair.labels[label] for label in ("IO", "S1", "S2")}
    clean, corrupted = (
        tuple(new_ids.get(token, token) if place in places else token for place, token in enumerate(prompt))
        for prompt in (pair.clean_tokens, pair.corrupted_tokens)
    )
    return replace(
        with_tokens(pair, tokens, clean, corrupted),
        answers=(texts[answer],),
        distractors=(texts[1 - answer],),
        answer_ids=(ids[answer],),
        distractor_ids=(ids[1 - answer],),
    )


def _check_labels(pairs: Sequence[PromptPair], labels: Sequence[str], name: str) -> None:
    for pair in pairs:
        missing = [label for label in labels if label not in pair.labels]
        if missing:
            raise LabError(
                f"intervention.contrast: {name} needs prompts with the label {missing[0]}, as those of task=ioi have; "
                "expected clean_corrupt for prompts of any kind"
            )
