"""Maps of head outputs: ridge regression against scikit-learn, known maps, and chance for shuffled prompts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from ioi_lab.errors import LabError
from ioi_lab.transfer.head_maps import Contrasts, DualRidge, OutputMaps, StreamMaps
from tests.transfer.conftest import random_maps

HEAD = (0, 0)


def contrasts(x, held_out, answers):
    return Contrasts({HEAD: x}, {HEAD: held_out}, answers)


def drawn(rng, n_training=60, n_held_out=20, d_source=12, d_target=9, noise=0.05):
    """Outputs of a head in 6 of its dimensions, and what a linear map makes of them."""
    basis, true = rng.standard_normal((6, d_source)), rng.standard_normal((d_source, d_target))
    parts = [rng.standard_normal((n, 6)) @ basis for n in (n_training, n_held_out)]
    images = [x @ true + noise * rng.standard_normal((len(x), d_target)) for x in parts]
    return parts, images, [f" name {index % 10}" for index in range(n_training)]


@pytest.mark.parametrize("shape", [(8, 20), (40, 6)])
def test_the_regression_is_that_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape), rng.standard_normal((shape[0], 4))
    for penalty in (1e-3, 1.0):
        own = penalty * np.square(x).sum() / shape[1]
        expected = Ridge(alpha=own, fit_intercept=False).fit(x, y).coef_.T
        assert DualRidge.of(x, y).matrix(penalty) == pytest.approx(expected, abs=1e-8)


def test_a_linear_relation_is_found_and_holds_on_other_prompts():
    (x, x_held_out), (y, y_held_out), answers = drawn(np.random.default_rng(1))
    maps = OutputMaps(contrasts(x, x_held_out, answers), contrasts(y, y_held_out, answers))
    assert maps.r2(HEAD, HEAD) > 0.99
    assert x_held_out @ maps.matrix(HEAD, HEAD) == pytest.approx(y_held_out, abs=0.6)


def test_shuffled_prompts_are_predicted_by_chance():
    rng = np.random.default_rng(2)
    (x, x_held_out), (y, y_held_out), answers = drawn(rng)
    maps = OutputMaps(contrasts(x, x_held_out, answers), contrasts(rng.permutation(y), y_held_out, answers))
    assert maps.r2(HEAD, HEAD) < 0.1


def test_folds_share_no_answers():
    """With one answer in each fold, remembering answers predicts nothing, so that a large penalty wins."""
    rng = np.random.default_rng(3)
    answers = [f" name {index % 5}" for index in range(50)]
    one, other = (rng.standard_normal((5, 30)), rng.standard_normal((5, 20)))
    rows = np.arange(50) % 5
    maps = OutputMaps(contrasts(one[rows], one, answers), contrasts(other[rows], other, answers))
    assert np.linalg.norm(one[rows] @ maps.matrix(HEAD, HEAD)) < 0.5 * np.linalg.norm(other[rows])


def test_too_few_answers_are_refused():
    x = np.ones((8, 3))
    one = contrasts(x, x, [" a", " b"] * 4)
    with pytest.raises(
        LabError, match=r"intervention\.head_map: a map of outputs is fitted to training prompts with 5"
    ):
        OutputMaps(one, one)


def test_maps_of_the_stream_are_those_of_the_heads_layers(both):
    maps = random_maps(both)
    stream = StreamMaps(maps, {pair: 0.1 * sum(pair) for pair in maps})
    assert stream.matrix((1, 0), (2, 3)) == pytest.approx(maps[1, 2].matrix.numpy())
    assert stream.r2((1, 0), (2, 3)) == pytest.approx(0.3)
