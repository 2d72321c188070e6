"""Debiased CKA against the formula of the paper, and what it gives for activations that have nothing to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.alignment.similarity import MAX_ROWS, similarities, u_centred


def normal(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(size))


def unbiased_hsic(x, y) -> float:
    """Song et al. 2012, equation 5, as it is written."""
    n, ones = len(x), np.ones(len(x))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    sums = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (ones @ k @ l @ ones)
    return (np.trace(k @ l) + sums) / (n * (n - 3))


def test_it_is_the_ratio_of_the_papers_estimators():
    x = normal(30, 1, 4)
    y = x[:, :, :3] + normal(30, 1, 3, seed=1)
    one, other = x[:, 0].numpy(), y[:, 0].numpy()
    expected = unbiased_hsic(one, other) / np.sqrt(unbiased_hsic(one, one) * unbiased_hsic(other, other))
    found = similarities(x, y, 0, permutations=10)
    assert found.debiased[0, 0] == pytest.approx(expected)
    centred = one - one.mean(0), other - other.mean(0)
    plain = np.square(centred[0].T @ centred[1]).sum() / np.prod([np.linalg.norm(each.T @ each) for each in centred])
    assert found.plain[0, 0] == pytest.approx(plain)
    gram = u_centred(torch.from_numpy(one @ one.T))
    assert gram.sum(dim=0).abs().max() < 1e-9


def test_unrelated_activations_are_at_chance_and_plain_cka_is_not():
    found = similarities(normal(120, 1, 60), normal(120, 1, 40, seed=1), 0)
    assert abs(found.debiased[0, 0]) < 0.02
    assert found.p_value[0, 0] > 0.05
    assert found.debiased[0, 0] < found.null_high[0, 0]
    assert found.low[0, 0] < 0 < found.high[0, 0]
    assert found.plain[0, 0] > 0.25
    assert found.plain_by_chance[0, 0] == pytest.approx(found.plain[0, 0], abs=0.02)


def test_a_rotated_shifted_copy_is_the_same():
    x = normal(50, 2, 6)
    rotation, _ = torch.linalg.qr(normal(6, 6, seed=2))
    found = similarities(x, 3 * x @ rotation + 7, 0)
    assert found.debiased.diagonal() == pytest.approx([1, 1])
    assert found.plain.diagonal() == pytest.approx([1, 1])
    assert found.p_value[0, 0] == pytest.approx(1 / 501)
    assert (found.debiased[0, 1], found.p_value[0, 1]) == (pytest.approx(0, abs=0.15), pytest.approx(0.5, abs=0.49))


def test_intervals_have_about_their_level():
    covered = []
    for seed in range(40):
        x = normal(100, 1, 5, seed=seed)
        found = similarities(x, x + normal(100, 1, 5, seed=1000 + seed), 0, permutations=1)
        covered.append((found.low[0, 0], found.high[0, 0]))
    large = normal(500, 1, 5, seed=7)
    truth = similarities(large, large + normal(500, 1, 5, seed=8), 0, permutations=1).debiased[0, 0]
    assert np.mean([low <= truth <= high for low, high in covered]) >= 0.8


def test_few_rows_have_no_similarity_and_many_are_cut():
    assert np.isnan(similarities(normal(7, 1, 2), normal(7, 2, 2), 0).debiased).all()
    assert similarities(normal(MAX_ROWS + 5, 1, 1), normal(MAX_ROWS + 5, 1, 1), 0, permutations=1).n_rows == MAX_ROWS


def test_a_constant_layer_is_similar_to_nothing():
    found = similarities(torch.ones(20, 1, 3), normal(20, 1, 3), 0, permutations=5)
    assert (found.debiased[0, 0], found.plain[0, 0]) == (0, 0)
