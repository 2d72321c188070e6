"""Reference prompts of IOI: the same sentences with three unrelated names, over which Wang et al. 2022 take means.

In their ABC prompts, nothing says which name should follow ("When John and Mary went to the store, Tom gave a drink
to"), so the mean activation over them keeps what all prompts of a sentence share and loses the names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi import drawn_names, single_token_names
from ioi_lab.tasks.ioi_text import OBJECTS, PLACES
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.tokens import Tokens

_TRIES_PER_PROMPT: Final = 20
"""How often a prompt is drawn for each that is asked for: places and objects of other lengths do not fit a cell."""

Cell = tuple[str, int, tuple[tuple[str, int], ...]]
"""A sentence with the order of its names, the number of its tokens, and the positions of its labels."""


@dataclass(frozen=True)
class ReferencePrompts:
    """The reference prompts of all cells: prompts with one sentence, order and length share theirs."""

    prompts: PromptPairs
    """The reference prompts, which have no answers: only their clean side is meant to be read."""

    of_prompt: list[list[int]]
    """The indices of the reference prompts of each prompt."""


def abc_references(prompts: PromptPairs, tokens: Tokens, n_per_cell: int, seed: int) -> ReferencePrompts:
    """Return `n_per_cell` ABC prompts for each sentence and order of names among the prompts.

    Places and objects are drawn too, so that their mean is over them. No reference prompt is the corrupted twin of one
    of the prompts.

    Args:
        prompts: Prompts of `task=ioi`.
        tokens: The tokens of the model that reads them.
        n_per_cell: The number of reference prompts for each cell.
        seed: Draws them.

    Raises:
        LabError: The prompts are not of `task=ioi`, or a cell has fewer reference prompts.

    """
    twins = {pair.corrupted_tokens for pair in prompts}
    names = {name: tokens.single(f" {name}") for name in single_token_names(tokens)}
    drawn: dict[Cell, range] = {}
    references: list[PromptPair] = []
    for pair in prompts:
        cell = _cell_of(pair)
        if cell in drawn:
            continue
        rng = random.Random(f"{seed} {cell}")
        found = _drawn(pair, tokens, names, rng, n_per_cell, twins)
        if len(found) < n_per_cell:
            raise LabError(
                f"intervention.n_reference: got {n_per_cell}, but {_TRIES_PER_PROMPT * n_per_cell} draws gave only "
                f"{len(found)} different prompts of as many tokens as {pair.clean!r}; expected at most as many"
            )
        drawn[cell] = range(len(references), len(references) + len(found))
        references += [PromptPair.untasked(ids) for ids in found]
    return ReferencePrompts(PromptPairs(references), [list(drawn[_cell_of(pair)]) for pair in prompts])


def _cell_of(pair: PromptPair) -> Cell:
    if pair.frame is None:
        raise LabError(
            "intervention.reference: got 'abc', but only prompts of task=ioi can be drawn again with other names; "
            "expected corrupted or clean"
        )
    return pair.frame, len(pair), tuple(sorted(pair.labels.items()))


def _drawn(
    pair: PromptPair,
    tokens: Tokens,
    names: Mapping[str, int | None],
    rng: random.Random,
    count: int,
    excluded: set[tuple[int, ...]],
) -> list[tuple[int, ...]]:
    """Return up to `count` different ABC prompts whose names are at the positions of the pair's.

    `names` are those that can be drawn, with their tokens; `excluded` prompts are not returned.
    """
    found: dict[tuple[int, ...], None] = {}
    for ids in _candidates(pair, tokens, names, rng, _TRIES_PER_PROMPT * count):
        if len(found) == count:
            break
        if ids not in excluded:
            found[ids] = None
    return list(found)


def _candidates(
    pair: PromptPair, tokens: Tokens, names: Mapping[str, int | None], rng: random.Random, tries: int
) -> Iterator[tuple[int, ...]]:
    assert pair.frame is not None
    for _ in range(tries):
        drawn, _ = drawn_names(rng, names.keys())
        scene = {"place": rng.choice(PLACES), "object": rng.choice(OBJECTS)}
        people = dict(zip(("IO", "S1", "S2"), drawn, strict=False))
        ids = tokens.encode(pair.frame.format(**people, **scene))
        if len(ids) == len(pair) and all(ids[pair.labels[label]] == names[name] for label, name in people.items()):
            yield ids
