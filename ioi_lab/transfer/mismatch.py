"""Other concepts of the source by the same route: a vector that stands for something else should not steer.

Unrelated directions are many and stand for little. Here a few vectors are made from the prompts of the carried one by
other contrasts, and take its route at its norm (concept mismatch).

The two sides of such a contrast must have what the carried vector stands for in common. Clean against corrupted is
therefore never another concept: the answers of its sides differ, and with them the name and its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ioi_lab.engine.edits import Site
from ioi_lab.steering.contrasts import CONTRASTS
from ioi_lab.steering.methods import Vector, make_vector
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

if TYPE_CHECKING:
    from ioi_lab.transfer.shared_prompts import ModelOnPrompts
    from ioi_lab.transfer.vectors import NativeVectors


_DIFFER_IN_ALL: Final = ("clean_corrupt", "two_answers")


def mismatched_vectors(source: NativeVectors, layer: int) -> dict[str, Vector]:
    """Return the vectors of the other contrasts that the training prompts allow, by the contrast's name.

    If the carried vector is of two names, the prompts get others: a model's preference for one of the two names is a
    part of every difference between prompts that have them. A contrast of two names takes the first two of the prompts.
    """
    on_prompts = source.on_prompts
    prompts = _without_the_names(on_prompts)
    labels = set.intersection(*(set(prompt.labels) for prompt in prompts))
    names = prompts[0].answer, prompts[0].distractor
    vectors = {}
    for name in CONTRASTS.names:
        kind = CONTRASTS[name]
        if name in (on_prompts.contrast_name, *_DIFFER_IN_ALL) or not labels.issuperset(kind.labels):
            continue
        sides = PromptPairs([each.sides for each in kind.function(prompts, on_prompts.model.tokens, names)])
        engine, site = on_prompts.sides.on(sides), Site(source.component, layer, None, source.position)
        positive, negative = (activations_at(engine, which, [site])[site] for which in ("clean", "corrupted"))
        vectors[name] = make_vector(source.method, positive, negative)
    return vectors


def _without_the_names(on_prompts: ModelOnPrompts) -> list[PromptPair]:
    """Return the training prompts; if all have the two names of the contrast, each with two other names."""
    prompts = [prompt.steered for prompt in on_prompts.contrast.training]
    others = on_prompts.other_names
    if len(others) < 2:
        return prompts
    make, tokens = CONTRASTS[on_prompts.contrast_name].function, on_prompts.model.tokens
    pairs = [(others[2 * row % len(others)], others[(2 * row + 1) % len(others)]) for row in range(len(prompts))]
    return [make([prompt], tokens, pair)[0].steered for prompt, pair in zip(prompts, pairs, strict=True)]
