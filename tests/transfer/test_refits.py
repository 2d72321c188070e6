"""Refits: the same prompts in both models, and the norms of the native vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.transfer.refits import N_REFITS, Refits
from ioi_lab.transfer.vectors import NativeVectors, ThroughMaps
from tests.transfer.conftest import on_prompts, random_maps


def test_refits_take_the_same_prompts_in_both_models(both):
    """With the unit vectors as activations, the weight of each prompt can be read off."""
    source, target = (
        NativeVectors.of(model, "resid_post", "END", [2], "mean_difference")
        for model in on_prompts(both, n=12, contrast="name_pair")
    )
    marked = tuple(np.concatenate([one, np.zeros((6, both[0].shape.d_model - 6))], axis=1)
                   for one in (np.eye(6), np.zeros((6, 6))))  # fmt: skip
    maps = random_maps(both, (2,))
    route = ThroughMaps(replace(source, sides={2: marked}), maps, 5, 0)
    refits = Refits.of(replace(target, sides={2: marked}), route, (2, 2), 0)
    assert len(refits.native) == N_REFITS
    weights = np.stack(refits.native)[:, :6]
    assert weights.sum(axis=1) == pytest.approx(np.ones(N_REFITS))
    assert weights.var(axis=0).mean() == pytest.approx(5 / 6**3, rel=0.2)  # of a bootstrap sample: (1 − 1/n) / n²
    for native, carried, rescaled in zip(refits.native, refits.carried, refits.at_native_norm, strict=True):
        assert carried == pytest.approx(native @ maps[2, 2].matrix.numpy())
        assert np.linalg.norm(rescaled) == pytest.approx(np.linalg.norm(native))
        assert rescaled == pytest.approx(carried * np.linalg.norm(native) / np.linalg.norm(carried))
