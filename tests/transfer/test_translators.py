"""Directions through shared tokens: known answers, scikit-learn's regression, and chance for shuffled tokens."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from ioi_lab.transfer.translators import (
    PENALTIES,
    Choice,
    LogitTranslator,
    RowTranslator,
    WeightedRidge,
    chosen_penalty,
)
from ioi_lab.transfer.vocabulary import SharedVocabulary


def test_a_direction_comes_back_from_a_rotated_copy_of_its_readout():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((300, 10))
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    order = rng.permutation(300)
    target = (source @ rotation)[order]  # the same tokens under other ids
    shared = SharedVocabulary(order, np.arange(300))
    direction = rng.standard_normal(10)
    translator = LogitTranslator.fitted((source, target), shared, direction)
    found = translator.translate(direction)
    expected = direction @ rotation
    assert found @ expected / (np.linalg.norm(found) * np.linalg.norm(expected)) > 0.99
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(expected), rel=0.05)
    assert translator.shared_mass(direction) == pytest.approx(1)
    rng = np.random.default_rng(1)
    shuffled = [translator.translate(direction, rng) for _ in range(20)]
    cosines = [other @ expected / (np.linalg.norm(other) * np.linalg.norm(expected)) for other in shuffled]
    assert np.abs(cosines).mean() < 0.45


def test_the_shared_mass_is_that_of_the_tokens_that_are_moved():
    source = np.array([[4.0], [-2.0], [-2.0]])
    translator = LogitTranslator(source, np.eye(2, 1), SharedVocabulary(np.array([0]), np.array([1])), Choice(0.1, 1.0))
    assert translator.shared_mass(np.array([1.0])) == pytest.approx(0.5)
    assert translator.shared_mass(np.array([0.0])) == 0
    assert translator.translate(np.array([0.0])).tolist() == [0.0]


def test_the_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    x, y, weights = rng.standard_normal((50, 6)) + 1, rng.standard_normal((50, 2)), rng.uniform(0.1, 3, 50)
    shares = weights / weights.sum()
    centred = x - shares @ x
    mean_square = float(shares @ np.square(centred).sum(axis=1)) / 6
    for penalty in (1e-3, 1.0):
        expected = Ridge(alpha=penalty * mean_square).fit(x, y, sample_weight=shares).coef_.T
        assert WeightedRidge.of(x, y, weights).coefficients(penalty) == pytest.approx(expected, abs=1e-8)


def test_the_penalty_is_small_for_what_is_linear_and_large_for_noise():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 20))
    linear = chosen_penalty(x, x @ rng.standard_normal((20, 3)), np.ones(200))
    assert linear.penalty == PENALTIES[0]
    assert linear.r2 > 0.999
    noise = chosen_penalty(x, rng.standard_normal((200, 3)), np.ones(200))
    assert noise.penalty == PENALTIES[-1]
    assert noise.r2 == pytest.approx(0, abs=0.05)


def test_the_map_of_rows_finds_a_rotation_and_is_one_map_for_all_directions():
    rng = np.random.default_rng(4)
    source = rng.standard_normal((300, 10))
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    order = rng.permutation(300)
    translator = RowTranslator.fitted((source, (source @ rotation)[order]), SharedVocabulary(order, np.arange(300)))
    assert translator.matrix == pytest.approx(rotation, abs=1e-4)
    assert translator.choice.r2 > 0.999
    one, other = rng.standard_normal((2, 10))
    assert translator.translate(one + 2 * other) == pytest.approx(
        translator.translate(one) + 2 * translator.translate(other)
    )
    shuffled = translator.translate(one, rng)
    assert abs(shuffled @ (one @ rotation)) < 0.5 * np.linalg.norm(one) * np.linalg.norm(shuffled)
    assert np.linalg.norm(shuffled) < 0.5 * np.linalg.norm(one)
