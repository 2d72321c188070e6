"""Splitting prompts so that names of one part, such as answers and distractors, do not occur in the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPairs

Names = NDArray[np.int64]

_TRIES: Final = 50
"""The number of random splits of which the one with the most prompts is taken."""


def names_of(prompts: PromptPairs) -> list[tuple[int, ...]]:
    """Return numbers of the names in each prompt, which two parts of the prompts must not share.

    These are the answers and distractors, by their tokens; or, for prompts that have them, their `topics`.
    """
    numbers: dict[str, int] = {}
    return [
        tuple(numbers.setdefault(topic, len(numbers)) for topic in pair.topics)
        or (*pair.answer_ids, *pair.distractor_ids)
        for pair in prompts
    ]


def split_by_names(prompts: PromptPairs, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return two parts of the prompts, by their indices, that share no name: see `names_of`.

    Prompts that share names stay together. Prompts that hold the two parts together, if
    there are such, are in neither.

    Args:
        prompts: The prompts.
        share: The share of the prompts that the second part should have.
        seed: Draws the parts.

    Raises:
        LabError: A part would have no prompts.

    """
    rng = np.random.default_rng(seed)
    pairs = _rectangle(names_of(prompts))
    names, index = np.unique(pairs, return_inverse=True)
    index = index.reshape(pairs.shape)
    best: tuple[float, list[int], list[int]] | None = None
    for _ in range(_TRIES):
        for is_second in _grown(index, len(names), share, rng):
            sides = is_second[index]
            first, second = np.flatnonzero(~sides.any(axis=1)), np.flatnonzero(sides.all(axis=1))
            fit = min(len(first) / (1 - share), len(second) / share)
            if best is None or fit > best[0]:
                best = fit, first.tolist(), second.tolist()
    assert best is not None
    if not best[1] or not best[2]:
        raise LabError(
            f"intervention.eval_share: got {share}, but the {len(prompts)} prompts cannot be split into two parts with "
            "different names; expected 0, which uses all for both, or more prompts"
        )
    return best[1], best[2]


def _grown(
    index: Int[Names, "prompt name"], n_names: int, share: float, rng: np.random.Generator
) -> Iterator[Bool[NDArray[np.bool_], "names"]]:
    """Yield which names are in the second part: prompts are added to it, those that share a name with it first."""
    is_second = np.zeros(n_names, dtype=bool)
    order = rng.permutation(len(index))
    wanted = share * len(index)
    while is_second[index].all(axis=1).sum() < wanted:
        inside = is_second[index]
        touching = [row for row in order if inside[row].any() and not inside[row].all()]
        fresh = [row for row in order if not inside[row].any()]
        if not touching and not fresh:
            break
        is_second[index[(touching or fresh)[0]]] = True
        yield is_second.copy()


def _rectangle(names: Sequence[Sequence[int]]) -> Int[Names, "prompt name"]:
    """Return the names of each prompt in a row; the first one is repeated in prompts that have fewer."""
    width = max(map(len, names))
    return np.array([[*own, *([own[0]] * (width - len(own)))] for own in names])
