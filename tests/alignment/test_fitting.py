"""Fits and their errors on held-out texts, against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import r2_score

from ioi_lab.alignment.maps import MAP_METHODS
from ioi_lab.alignment.moments import PairMoments
from ioi_lab.alignment.positions import HELD_OUT
from tests.alignment.conftest import aligned, alignment_config, all_activations, tiny_english


@pytest.mark.parametrize("method", ["ridge", "procrustes", "lowrank", "mean_shift"])
def test_held_out_errors_are_those_of_scikit_learn(both, method):
    config = alignment_config(method=method, source_layers=[1, 3], target_layers=[2])
    corpus = tiny_english()
    found = aligned(both, config, corpus)
    x, y, folds = all_activations(both, config, corpus)
    held_out, fitted = folds == HELD_OUT, folds != HELD_OUT
    assert (found.n_positions, found.n_held_out) == (int(fitted.sum()), int(held_out.sum()))
    assert found.n_texts + found.n_held_out_texts == 200
    for pair, own, other, fit, errors in [
        ((1, 2), x[:, 0], y[:, 0], found.forward, found.forward_errors),
        ((2, 3), y[:, 0], x[:, 1], found.backward, found.backward_errors),
    ]:
        known, mapped = other[held_out], fit[pair].map(own[held_out])
        assert errors[pair].r2() == pytest.approx(r2_score(known, mapped, multioutput="variance_weighted"))
        constant = other[fitted].mean(dim=0).expand(len(known), -1)
        assert errors[pair].r2("mean") == pytest.approx(r2_score(known, constant, multioutput="variance_weighted"))
        cosines = torch.cosine_similarity(mapped - constant, known - constant)
        assert errors[pair].cosine.sum() / errors[pair].count.sum() == pytest.approx(float(cosines.mean()))
        assert errors[pair].r2("mean") < 0
        assert errors[pair].r2("shuffled") < 0.02
        whole = PairMoments.of(own[fitted], other[fitted])
        assert fit[pair].cka == pytest.approx(whole.cka)
        assert fit[pair].mean.numpy() == pytest.approx(whole.mean_y.numpy())


def test_a_penalty_is_cross_validated_only_for_methods_that_use_one(both):
    for method in MAP_METHODS.names:
        config = alignment_config(method=method, source_layers=3, target_layers=3, steps=1)
        penalty = aligned(both, config, tiny_english(60)).forward[3, 3].penalty
        assert (penalty is not None) == (method in ("ridge", "lowrank", "affine_trained", "mlp"))
