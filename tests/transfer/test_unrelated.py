"""Unrelated directions: what they are made from, and the quantile that they give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.errors import LabError
from ioi_lab.transfer.unrelated import (
    MIN_UNRELATED,
    _name_pairs,
    name_differences,
    prompt_differences,
    unrelated_directions,
    upper_quantile_rank,
)
from ioi_lab.transfer.vectors import NativeVectors
from tests.transfer.conftest import on_prompts


def native(models, contrast="name_pair", names=("James", "Robert"), method="mean_difference"):
    source, _ = on_prompts(models, n=12, contrast=contrast, names=names)
    return NativeVectors.of(source, "resid_post", "END", [2], method)


def test_differences_of_prompts_do_not_contain_the_contrast(both):
    """If the prompts differ in nothing but their side, there is no difference between groups of prompts."""
    source = native(both)
    common, concept = np.ones((6, 8)), np.arange(8.0)
    alike = replace(source, sides={2: (common + concept, common - concept)})
    assert all(not vector.any() for vector in prompt_differences(alike, 2, 40, 0).vectors)


def test_differences_of_prompts_are_between_means_of_two_groups(both):
    """With the unit vectors as activations, the weights of a difference can be read off."""
    source = native(both)
    directions = prompt_differences(replace(source, sides={2: (np.eye(6), np.eye(6))}), 2, 200, 0)
    assert len(directions.names) == len(directions.vectors) == 200
    for weights in directions.vectors:
        assert weights.sum() == pytest.approx(0)
        for group in (weights[weights > 0], weights[weights < 0]):
            assert group == pytest.approx(np.full(len(group), np.sign(group[0]) / len(group)))
    assert len({tuple(weights) for weights in directions.vectors}) > 100
    assert np.mean(directions.vectors, axis=0) == pytest.approx(np.zeros(6), abs=0.1)  # no sign is preferred


def test_a_single_training_prompt_has_no_differences(both):
    alone = replace(native(both), sides={2: (np.ones((1, 8)), np.zeros((1, 8)))})
    with pytest.raises(LabError, match=r"^intervention\.unrelated: there is 1 training prompt"):
        prompt_differences(alone, 2, 40, 0)


@pytest.mark.parametrize("method", ["mean_difference", "pca"])
def test_other_pairs_of_names_give_the_vector_of_a_contrast_with_these_names(both, method):
    """The vector of each pair is that which a contrast with its names gives on the same prompts."""
    source = native(both, method=method)
    directions = name_differences(source, 2, 5, 0)
    pair = tuple(directions.names[0].split(" − "))
    assert not {"James", "Robert"} & set(pair)
    expected = native(both, names=pair, method=method).vectors[2]
    cosine = directions.vectors[0] @ expected / np.linalg.norm(directions.vectors[0]) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(directions.vectors[0]) == pytest.approx(np.linalg.norm(expected), rel=1e-3)


def test_other_pairs_are_there_only_for_a_contrast_of_two_names(both):
    assert [kind.key for kind in unrelated_directions(native(both), 2, 39, 0)] == ["prompts", "names"]
    assert [kind.key for kind in unrelated_directions(native(both, "clean_corrupt"), 2, 39, 0)] == ["prompts"]


def test_pairs_of_names_do_not_repeat():
    names = [f"name {index}" for index in range(10)]
    pairs = _name_pairs(names, 45, np.random.default_rng(0))
    assert len({frozenset(pair) for pair in pairs}) == 45
    assert 0 < sum(names.index(one) < names.index(other) for one, other in pairs) < 45  # either name can be first
    with pytest.raises(
        LabError, match=r"^intervention\.unrelated: got 46, but the prompts have 10 other names, which "
    ):
        _name_pairs(names, 46, np.random.default_rng(0))


@pytest.mark.parametrize("count", [MIN_UNRELATED, 100, 199])
def test_a_further_sample_exceeds_the_quantile_with_at_most_its_chance(count):
    rank = upper_quantile_rank(count)
    assert rank <= count
    assert (count + 1 - rank) / (count + 1) <= 0.025 < (count + 2 - rank) / (count + 1)
    samples = np.random.default_rng(0).exponential(size=(20_000, count + 1))
    exceeds = samples[:, -1] > np.sort(samples[:, :-1], axis=1)[:, rank - 1]
    assert exceeds.mean() == pytest.approx((count + 1 - rank) / (count + 1), abs=0.004)


def test_fewer_directions_have_no_quantile():
    assert upper_quantile_rank(MIN_UNRELATED - 1) > MIN_UNRELATED - 1
