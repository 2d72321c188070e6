"""Fits against scikit-learn, SciPy and known maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge

from ioi_lab.alignment.maps import (
    FitSettings,
    anchors,
    lowrank,
    mean_shift,
    procrustes,
    ridge,
)
from ioi_lab.errors import LabError
from tests.alignment.conftest import correlated, moments


@pytest.mark.parametrize("penalty", [1e-8, 0.1, 10.0])
def test_ridge_equals_scikit_learn(penalty):
    x, y = correlated()
    found = ridge(moments(x, y), FitSettings(penalty=penalty))
    alpha = penalty * len(x) * x.var(axis=0).sum() / x.shape[1]
    expected = Ridge(alpha=alpha).fit(x, y)
    assert found.matrix.numpy() == pytest.approx(expected.coef_.T, abs=1e-8)
    assert found.bias.numpy() == pytest.approx(expected.intercept_, abs=1e-7)
    assert found(torch.from_numpy(x)).numpy() == pytest.approx(expected.predict(x), abs=1e-7)


def test_procrustes_equals_scipy_where_widths_are_equal():
    x, y = correlated(width=5)
    centred = x - x.mean(axis=0), y - y.mean(axis=0)
    rotation, scale = orthogonal_procrustes(*centred)
    expected = rotation * scale / np.square(centred[0]).sum()
    assert procrustes(moments(x, y), FitSettings()).matrix.numpy() == pytest.approx(expected, abs=1e-8)


def test_procrustes_of_unequal_widths_goes_through_principal_components():
    x, y = correlated(width=7, other=4)
    into_x, into_y = PCA(4).fit(x), PCA(4).fit(y)
    rotation, scale = orthogonal_procrustes(into_x.transform(x), into_y.transform(y))
    scaled = rotation * scale / np.square(into_x.transform(x)).sum()
    expected = into_x.components_.T @ scaled @ into_y.components_
    assert procrustes(moments(x, y), FitSettings()).matrix.numpy() == pytest.approx(expected, abs=1e-8)


def test_lowrank_is_the_best_of_its_rank():
    """Without a penalty it is the least-squares fit, projected on its own leading principal components (Izenman)."""
    x, y = correlated(noise=3.0)
    full = LinearRegression().fit(x, y)
    kept = PCA(2).fit(full.predict(x)).components_
    found = lowrank(moments(x, y), FitSettings(rank=2, penalty=0.0))
    assert found.matrix.numpy() == pytest.approx(full.coef_.T @ kept.T @ kept, abs=1e-8)
    assert torch.linalg.matrix_rank(found.matrix) == 2
    error = np.square(y - found(torch.from_numpy(x)).numpy()).sum()
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = found.matrix.numpy() + 0.01 * rng.standard_normal((6, 2)) @ rng.standard_normal((2, 5))
        left, values, right = np.linalg.svd(other)
        other = left[:, :2] * values[:2] @ right[:2]
        assert np.square((y - y.mean(axis=0)) - (x - x.mean(axis=0)) @ other).sum() >= error


def test_lowrank_of_full_rank_is_ridge():
    x, y = correlated()
    pair = moments(x, y)
    options = FitSettings(rank=5, penalty=0.1)
    assert lowrank(pair, options).matrix.numpy() == pytest.approx(ridge(pair, options).matrix.numpy(), abs=1e-8)


@pytest.mark.parametrize("other", [4, 6, 8])
def test_mean_shift_keeps_the_axes(other):
    x, y = correlated(other=other)
    mapped = mean_shift(moments(x, y), FitSettings())(torch.from_numpy(x)).numpy()
    shared = min(6, other)
    assert mapped.mean(axis=0) == pytest.approx(y.mean(axis=0))
    assert mapped[:, :shared] - mapped[:, :shared].mean(axis=0) == pytest.approx((x - x.mean(axis=0))[:, :shared])
    assert mapped[:, shared:].std(axis=0) == pytest.approx(0, abs=1e-9)


def test_a_layer_that_holds_but_one_value_gives_no_numbers_that_are_not_finite():
    _, y = correlated()
    found = ridge(moments(np.ones((len(y), 3)), y), FitSettings(penalty=1e-8))
    assert found(torch.ones(3, dtype=torch.float64)).numpy() == pytest.approx(y.mean(axis=0))
    assert found.matrix.abs().max() < 1


def test_anchors_keep_the_similarities_to_them():
    """With enough anchors and nothing lost, a rotated copy is found; two numbers alone are fitted."""
    x, _ = correlated(width=5)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))
    y = 2 * x @ rotation - 3
    some = torch.from_numpy(x[:60]), torch.from_numpy(y[:60])
    found = anchors(moments(x, y), FitSettings(anchors=some))
    assert found.matrix.numpy() == pytest.approx(2 * rotation, abs=1e-4)
    cosines = [
        torch.nn.functional.normalize(each[:60] - each.mean(0)) @ torch.nn.functional.normalize(each - each.mean(0)).T
        for each in (torch.from_numpy(x), found(torch.from_numpy(x)))
    ]
    assert cosines[0].numpy() == pytest.approx(cosines[1].numpy(), abs=1e-4)
    shuffled = anchors(moments(x, y), FitSettings(anchors=some).shuffled())
    assert np.abs(shuffled.matrix.numpy() - 2 * rotation).max() > 0.5
    with pytest.raises(LabError, match="no activations at anchors"):
        anchors(moments(x, y), FitSettings())
