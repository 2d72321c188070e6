"""Contrasts: which two sides of the prompts a steering vector tells apart, and which prompts it is tried on.

A contrast is a list of pairs whose clean run is the positive side and whose corrupted run is the negative one. Vectors
are made from one half of a task's prompts and tried on prompts of the other half, with other names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx
import numpy as np

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, single_token
from ioi_lab.tasks.tokens import Tokens

ContrastName = Literal["clean_corrupt", "answer_position", "name_pair"]


@dataclass(frozen=True)
class Prompt:
    """A prompt to steer, the two sides of its contrast, and on which of them its answer lies: 1, or −1."""

    steered: PromptPair
    sides: PromptPair
    sign: int


@dataclass(frozen=True)
class Contrast:
    """The prompts that a vector is made from, and those that it is tried on."""

    training: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    names_differ: bool
    """Whether no answer or distractor of either half stands in the other."""

    n_dropped: int
    """Prompts left out, since their names stand in both halves."""

    @property
    def training_sides(self) -> PromptPairs:
        """Clean: the positive side, corrupted: the negative side."""
        return PromptPairs([prompt.sides for prompt in self.training])

    @property
    def held_out_sides(self) -> PromptPairs:
        """The same of the prompts that are steered."""
        return PromptPairs([prompt.sides for prompt in self.held_out])

    @property
    def steered(self) -> PromptPairs:
        """The prompts that are steered."""
        return PromptPairs([prompt.steered for prompt in self.held_out])

    @property
    def signs(self) -> list[int]:
        """By steered prompt: which way along the vector its answer lies."""
        return [prompt.sign for prompt in self.held_out]


def contrast_of(
    name: ContrastName, prompts: PromptPairs, tokens: Tokens, names: tuple[str, str], seed: int
) -> Contrast:
    """Split the prompts and build the sides of both halves.

    `clean_corrupt`: the prompts as they are. `answer_position`: each prompt with the answer named first, and with the
    distractor named first, so that every name stands on both sides alike. `name_pair`: the two `names` in place of each
    prompt's own, the one or the other as the answer.

    Raises a `LabError` for fewer than two prompts, prompts without the labels that the contrast needs, and names that
    are not single tokens.
    """
    if len(prompts) < 2:
        raise LabError(
            f"intervention.contrast: got {len(prompts)} prompt, which leaves one side of the split empty; expected 2 "
            "or more (task.n)"
        )
    if name == "name_pair":
        build = _name_pair(tokens, names)
        training, held_out = _split_by_prompt(len(prompts), seed)
        names_differ = False
    else:
        build = {"clean_corrupt": _clean_corrupt, "answer_position": _answer_position(tokens)}[name]
        training, held_out, names_differ = _split(prompts, seed)
    return Contrast(
        training=tuple(build(prompts[row]) for row in training),
        held_out=tuple(build(prompts[row]) for row in held_out),
        names_differ=names_differ,
        n_dropped=len(prompts) - len(training) - len(held_out),
    )


def without_names(contrast: Contrast, names: Sequence[str]) -> Contrast:
    """Steer all prompts that have none of these `names`, from a vector's own prompts, as answer or distractor.

    Raises a `LabError` if there are none.
    """
    kept = tuple(
        prompt
        for prompt in (*contrast.training, *contrast.held_out)
        if not {prompt.steered.answer, prompt.steered.distractor} & set(names)
    )
    if not kept:
        raise LabError("intervention.vector: every prompt has a name that the vector was made from; change task.seed")
    return replace(contrast, training=(), held_out=kept, names_differ=True, n_dropped=0)


def _clean_corrupt(pair: PromptPair) -> Prompt:
    return Prompt(pair, pair, sign=1)


def _answer_position(tokens: Tokens) -> Callable[[PromptPair], Prompt]:
    def build(pair: PromptPair) -> Prompt:
        _check_labels(pair, ("IO", "S1"), "answer_position")
        io, subject = pair.labels["IO"], pair.labels["S1"]
        swapped = list(pair.clean_tokens)
        swapped[io], swapped[subject] = swapped[subject], swapped[io]
        own, other = pair.clean_tokens, tuple(swapped)
        answer_first = io < subject
        sides = _with_tokens(pair, tokens, *((own, other) if answer_first else (other, own)))
        return Prompt(pair, sides, sign=1 if answer_first else -1)

    return build


def _name_pair(tokens: Tokens, names: tuple[str, str]) -> Callable[[PromptPair], Prompt]:
    texts = [f" {name.strip()}" for name in names]
    ids = [single_token(tokens, text, "intervention.names:") for text in texts]
    if ids[0] == ids[1]:
        raise LabError(f"intervention.names: got {texts[0].strip()!r} twice; expected two different names")
    told: dict[bool, int] = {True: 0, False: 0}
    """How many prompts have had the answer named first, or second: both names are the answer equally often in each."""

    def renamed(pair: PromptPair, answer: int) -> PromptPair:
        new = {pair.answer_id: ids[answer], pair.distractor_id: ids[1 - answer]}
        places = {pair.labels[label] for label in ("IO", "S1", "S2")}
        runs = [
            tuple(new.get(token, token) if place in places else token for place, token in enumerate(run))
            for run in (pair.clean_tokens, pair.corrupted_tokens)
        ]
        named = _with_tokens(pair, tokens, *runs)
        return replace(
            named,
            answer=texts[answer],
            distractor=texts[1 - answer],
            answer_id=ids[answer],
            distractor_id=ids[1 - answer],
        )

    def build(pair: PromptPair) -> Prompt:
        _check_labels(pair, ("IO", "S1", "S2"), "name_pair")
        answer_first = pair.labels["IO"] < pair.labels["S1"]
        answer = told[answer_first] % 2
        told[answer_first] += 1
        versions = renamed(pair, 0), renamed(pair, 1)
        sides = _with_tokens(versions[0], tokens, versions[0].clean_tokens, versions[1].clean_tokens)
        return Prompt(versions[answer], sides, sign=1 if answer == 0 else -1)

    return build


def _check_labels(pair: PromptPair, labels: Sequence[str], contrast: str) -> None:
    missing = [label for label in labels if label not in pair.labels]
    if missing:
        raise LabError(
            f"intervention.contrast: {contrast} needs prompts with the label {missing[0]}, as those of task=ioi have; "
            "expected clean_corrupt for prompts of any kind"
        )


def _with_tokens(pair: PromptPair, tokens: Tokens, clean: tuple[int, ...], corrupted: tuple[int, ...]) -> PromptPair:
    """The pair with other tokens in the same places."""
    return replace(
        pair,
        clean=tokens.text(clean),
        corrupted=tokens.text(corrupted),
        clean_tokens=clean,
        corrupted_tokens=corrupted,
        token_strings=tokens.strings(clean),
    )


def _split(prompts: PromptPairs, seed: int) -> tuple[list[int], list[int], bool]:
    """Rows of the two halves, and whether their names differ; prompts with names of both halves are left out.

    The names are cut into two sets such that few prompts have names of both (Kernighan and Lin 1970). Where nothing is
    left that way, as all prompts share their names, the prompts are split instead.
    """
    graph = nx.Graph()
    for pair in prompts:
        graph.add_edge(pair.answer_id, pair.distractor_id)
    halves = nx.algorithms.community.kernighan_lin_bisection(graph, seed=seed)
    rows = [
        [row for row, pair in enumerate(prompts) if {pair.answer_id, pair.distractor_id} <= half] for half in halves
    ]
    if rows[0] and rows[1]:
        return rows[0], rows[1], True
    return *_split_by_prompt(len(prompts), seed), False


def _split_by_prompt(count: int, seed: int) -> tuple[list[int], list[int]]:
    order = np.random.default_rng(seed).permutation(count).tolist()
    return sorted(order[: count // 2]), sorted(order[count // 2 :])
