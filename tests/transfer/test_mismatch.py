"""Vectors of other concepts: which contrasts count as one, and what they are made from."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.edits import Site
from ioi_lab.steering.contrasts import answer_position, name_pair
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.transfer.mismatch import mismatched_vectors
from ioi_lab.transfer.vectors import NativeVectors
from tests.transfer.conftest import on_prompts


@pytest.mark.parametrize(
    ("contrast", "others"),
    [
        ("name_pair", ["answer_position"]),
        ("answer_position", ["name_pair"]),
        ("clean_corrupt", ["answer_position", "name_pair"]),
    ],
)
def test_other_concepts_are_contrasts_whose_sides_have_the_carried_concept_in_common(both, contrast, others):
    source, _ = on_prompts(both, n=12, contrast=contrast)
    native = NativeVectors.of(source, "resid_post", "END", [3], "mean_difference")
    found = mismatched_vectors(native, 3)
    assert sorted(found) == others
    assert all(np.linalg.norm(vector) > 0.01 for vector in found.values())


def test_the_vector_is_made_from_the_training_prompts_with_other_names(both):
    source, _ = on_prompts(both, n=14, contrast="name_pair")
    others, tokens = source.other_names, source.model.tokens
    assert {"James", "Robert"}.isdisjoint(others)
    renamed = []
    for row, prompt in enumerate(source.contrast.training):
        names = others[2 * row % len(others)], others[(2 * row + 1) % len(others)]
        own = {prompt.steered.answer: f" {names[0]}", prompt.steered.distractor: f" {names[1]}"}
        text = prompt.steered.clean
        for name, other in own.items():
            text = text.replace(name, other.replace(" ", " <"))  # marked, so that no name is replaced twice
        renamed.append(text.replace("<", ""))
    native = NativeVectors.of(source, "resid_post", "END", [2], "mean_difference")
    made = name_pairs_of(source)
    assert [prompt.clean for prompt in made] == renamed
    sides = PromptPairs([each.sides for each in answer_position(made, tokens, ("", ""))])
    engine, site = source.sides.on(sides), Site("resid_post", 2, None, "END")
    first, second = (activations_at(engine, which, [site])[site] for which in ("clean", "corrupted"))
    assert mismatched_vectors(native, 2)["answer_position"] == pytest.approx((first - second).mean(axis=0), abs=1e-5)


def name_pairs_of(source):
    """Each training prompt with two other names, as the next two of the list."""
    others, made = source.other_names, []
    for row, prompt in enumerate(source.contrast.training):
        names = others[2 * row % len(others)], others[(2 * row + 1) % len(others)]
        made.append(name_pair([prompt.steered], source.model.tokens, names)[0].steered)
    return made
