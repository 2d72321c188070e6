"""Moments do not depend on how positions are added, and CKA is that of the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.alignment.moments import Moments
from tests.alignment.conftest import correlated, moments


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
