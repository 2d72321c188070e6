"""Fits against scikit-learn, SciPy and known maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold

from ioi_lab.alignment.maps import PENALTIES, Spectrum, cross_validated_penalty, lowrank, mean_shift, procrustes, ridge
from ioi_lab.alignment.moments import Moments, PairMoments


def correlated(n=400, width=6, other=5, noise=0.5, seed=0):
    """Activations with very unequal variances, far from 0, and others that depend on them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, width)) * np.geomspace(0.1, 10, width) + 7
    y = x @ rng.standard_normal((width, other)) + noise * rng.standard_normal((n, other)) - 3
    return x, y


def moments(x, y):
    return PairMoments.of(torch.from_numpy(x), torch.from_numpy(y))


@pytest.mark.parametrize("penalty", [1e-8, 0.1, 10.0])
def test_ridge_equals_scikit_learn(penalty):
    x, y = correlated()
    found = ridge(moments(x, y), penalty)
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
    assert procrustes(moments(x, y)).matrix.numpy() == pytest.approx(expected, abs=1e-8)


def test_procrustes_of_unequal_widths_goes_through_principal_components():
    x, y = correlated(width=7, other=4)
    into_x, into_y = PCA(4).fit(x), PCA(4).fit(y)
    rotation, scale = orthogonal_procrustes(into_x.transform(x), into_y.transform(y))
    scaled = rotation * scale / np.square(into_x.transform(x)).sum()
    expected = into_x.components_.T @ scaled @ into_y.components_
    assert procrustes(moments(x, y)).matrix.numpy() == pytest.approx(expected, abs=1e-8)


def test_lowrank_is_the_best_of_its_rank():
    """Without a penalty it is the least-squares fit, projected on its own leading principal components (Izenman)."""
    x, y = correlated(noise=3.0)
    full = LinearRegression().fit(x, y)
    kept = PCA(2).fit(full.predict(x)).components_
    found = lowrank(moments(x, y), 2, 0.0)
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
    assert lowrank(pair, 5, 0.1).matrix.numpy() == pytest.approx(ridge(pair, 0.1).matrix.numpy(), abs=1e-8)


@pytest.mark.parametrize("other", [4, 6, 8])
def test_mean_shift_keeps_the_axes(other):
    x, y = correlated(other=other)
    mapped = mean_shift(moments(x, y))(torch.from_numpy(x)).numpy()
    shared = min(6, other)
    assert mapped.mean(axis=0) == pytest.approx(y.mean(axis=0))
    assert mapped[:, :shared] - mapped[:, :shared].mean(axis=0) == pytest.approx((x - x.mean(axis=0))[:, :shared])
    assert mapped[:, shared:].std(axis=0) == pytest.approx(0, abs=1e-9)


def test_cross_validation_chooses_what_scikit_learn_would():
    x, y = correlated(n=60, width=20, other=3, noise=30.0)
    folds = [rows for _, rows in KFold(4).split(x)]
    whole = moments(x, y)
    parts = []
    for rows in folds:
        fold = moments(x[rows], y[rows])
        rest = whole.without(fold)
        parts.append((rest, fold, Spectrum.of(rest)))
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for rows in folds:
            rest = np.setdiff1d(np.arange(len(x)), rows)
            alpha = penalty * len(rest) * x[rest].var(axis=0).mean()
            error += np.square(Ridge(alpha=alpha).fit(x[rest], y[rest]).predict(x[rows]) - y[rows]).sum()
        errors.append(error)
    chosen = cross_validated_penalty(parts)
    assert chosen == PENALTIES[int(np.argmin(errors))]
    assert PENALTIES[0] < chosen < PENALTIES[-1]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(8, 60), width=st.integers(1, 6), other=st.integers(1, 6), seed=st.integers(0, 1000))
def test_moments_do_not_depend_on_how_positions_are_counted(n, width, other, seed):
    x, y = correlated(n, width, other, seed=seed)
    cut = 1 + seed % (n - 2)
    whole = moments(x, y)
    first, second = moments(x[:cut], y[:cut]), moments(x[cut:], y[cut:])
    counted = Moments.zeros((1, width), (1, other))
    for part in (slice(0, cut), slice(cut, n)):
        counted.add(torch.from_numpy(x[part])[:, None], torch.from_numpy(y[part])[:, None])
    for same in (first.with_(second), counted.pair(0, 0), whole.with_(second).without(second)):
        assert same.count == n
        for name in ("mean_x", "mean_y", "xx", "yy", "xy"):
            assert getattr(same, name).numpy() == pytest.approx(getattr(whole, name).numpy(), abs=1e-6)
    assert whole.xx.numpy() == pytest.approx(np.cov(x.T, bias=True).reshape(width, width), abs=1e-6)
    assert counted.pair(0, 0, backward=True).xy.numpy() == pytest.approx(whole.xy.numpy().T, abs=1e-6)


def test_cka_is_that_of_the_paper():
    """On the Gram matrices of the positions, where it is defined (Kornblith et al. 2019, equation 3)."""
    x, y = correlated()
    grams = [(side - side.mean(axis=0)) @ (side - side.mean(axis=0)).T for side in (x, y)]
    expected = (grams[0] * grams[1]).sum() / (np.linalg.norm(grams[0]) * np.linalg.norm(grams[1]))
    assert moments(x, y).cka == pytest.approx(expected)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    assert moments(x, 3 * x @ rotation + 1).cka == pytest.approx(1)


def test_a_layer_that_holds_but_one_value_gives_no_numbers_that_are_not_finite():
    _, y = correlated()
    found = ridge(moments(np.ones((len(y), 3)), y), 1e-8)
    assert found(torch.ones(3, dtype=torch.float64)).numpy() == pytest.approx(y.mean(axis=0))
    assert found.matrix.abs().max() < 1
