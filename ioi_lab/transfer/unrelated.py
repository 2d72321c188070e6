"""Directions of the source that have nothing to do with a contrast, as controls that take the same route.

Random directions of the target are easy to exceed: activations vary along few directions, and a map writes into those
that it was fitted on. Whatever is carried from the source moves the target more than they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.contrasts import CONTRASTS
from ioi_lab.steering.methods import Vector, make_vector
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.transfer.vectors import NativeVectors

MIN_UNRELATED: Final = 39
"""The least number of directions: of fewer, no direction is exceeded by a further one with a chance of only 2.5 %."""

MAX_PROMPTS_PER_PAIR: Final = 8
"""The greatest number of training prompts that the vector of another pair of names is made from."""


@dataclass(frozen=True)
class UnrelatedDirections:
    """Directions of one kind in a layer of the source; they can have any norm."""

    key: Literal["prompts", "names"]
    """What is different: the prompts, or the pair of names."""

    noun: str
    """The noun, in the plural, for these directions."""

    names: list[str]
    vectors: list[Vector]


def unrelated_directions(source: NativeVectors, layer: int, count: int, seed: int) -> list[UnrelatedDirections]:
    """Return `count` directions of each kind: differences of prompts and, if the contrast is of two names, other pairs.

    Raises:
        LabError: There is a single training prompt, or the prompts have too few other names.

    """
    kinds = [prompt_differences(source, layer, count, seed)]
    if source.on_prompts.other_names:
        kinds.append(name_differences(source, layer, count, seed))
    return kinds


def prompt_differences(source: NativeVectors, layer: int, count: int, seed: int) -> UnrelatedDirections:
    """Return differences of mean activations between two random groups of training prompts.

    Each prompt is in one of the groups or in neither, with equal chance. Its activation is the mean of both sides of
    the contrast, which therefore cancels.
    """
    positive, negative = source.sides[layer]
    if len(positive) < 2:
        raise LabError(
            "intervention.unrelated: there is 1 training prompt, so that there are no differences of prompts to "
            "compare with; raise task.n"
        )
    rng = np.random.default_rng([seed, layer, 0])
    vectors = [_group_difference((positive + negative) / 2, rng) for _ in range(count)]
    names = [f"difference {index}" for index in range(count)]
    return UnrelatedDirections("prompts", "differences of training prompts", names, vectors)


def _group_difference(activations: Float[Array, "prompt d"], rng: np.random.Generator) -> Vector:
    while True:
        group = rng.integers(3, size=len(activations))
        if {0, 1} <= set(group.tolist()):
            difference: Vector = activations[group == 0].mean(axis=0) - activations[group == 1].mean(axis=0)
            return difference


def name_differences(source: NativeVectors, layer: int, count: int, seed: int) -> UnrelatedDirections:
    """Return the vectors that the same method makes from the same prompts with other pairs of names.

    At most `MAX_PROMPTS_PER_PAIR` of the prompts are used. Raises a `LabError` if there are too few names.
    """
    on_prompts = source.on_prompts
    pairs = _name_pairs(on_prompts.other_names, count, np.random.default_rng([seed, layer, 1]))
    prompts = [prompt.steered for prompt in on_prompts.contrast.training[:MAX_PROMPTS_PER_PAIR]]
    make = CONTRASTS[on_prompts.contrast_name].function
    made = [prompt.sides for pair in pairs for prompt in make(prompts, on_prompts.model.tokens, pair)]
    engine, site = on_prompts.sides.on(PromptPairs(made)), Site(source.component, layer, None, source.position)
    positive, negative = (
        activations_at(engine, which, [site])[site].reshape(count, len(prompts), -1) for which in ("clean", "corrupted")
    )
    vectors = [make_vector(source.method, *sides) for sides in zip(positive, negative, strict=True)]
    names = [f"{one} − {other}" for one, other in pairs]
    return UnrelatedDirections("names", "other pairs of names", names, vectors)


def _name_pairs(names: Sequence[str], count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Return different pairs of names in random order."""
    pairs = list(combinations(names, 2))
    if len(pairs) < count:
        raise LabError(
            f"intervention.unrelated: got {count}, but the prompts have {len(names)} other names, which make "
            f"{len(pairs)} pairs; raise task.n, or take prompts with more names"
        )
    chosen = [pairs[index] for index in rng.choice(len(pairs), count, replace=False)]
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in chosen]


def upper_quantile_rank(count: int) -> int:
    """Return the rank, from 1 for the lowest, of the sample that a further one exceeds with a chance of ≤ 2.5 %.

    This holds whatever the distribution is, as in a Monte Carlo test (Barnard 1963).
    """
    return -(-39 * (count + 1) // 40)
