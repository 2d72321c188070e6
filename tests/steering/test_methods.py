"""Vectors from activations, against the steering-vectors package, scikit-learn and known answers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from steering_vectors.aggregators import mean_aggregator, pca_aggregator

from ioi_lab.errors import LabError
from ioi_lab.steering.methods import (
    VECTOR_METHODS,
    VectorMethod,
    logistic,
    make_vector,
    mean_difference,
    pca,
    random_direction,
    unembedding,
)

METHODS = ("mean_difference", "pca", "logistic")


def sides(seed: int, n: int = 40, width: int = 6, gap: float = 3.0):
    """Two clouds that lie `gap` apart along the first axis, as pairs that share everything else."""
    rng = np.random.default_rng(seed)
    shared, noise = rng.normal(size=(2, n, width))
    positive, negative = shared + 0.3 * noise, shared - 0.3 * noise
    positive[:, 0] += gap
    return positive, negative


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("seed", range(3))
def test_mean_difference_and_pca_equal_the_steering_vectors_package(seed):
    positive, negative = sides(seed)
    theirs = [torch.from_numpy(side) for side in (positive, negative)]
    assert mean_difference(positive, negative) == pytest.approx(mean_aggregator()(*theirs).numpy())
    assert cosine(pca(positive, negative), pca_aggregator()(*theirs).numpy()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_the_direction_and_how_far_the_sides_are_apart(method):
    positive, negative = sides(0, n=400)
    vector = make_vector(method, positive, negative)
    assert cosine(vector, np.eye(6)[0]) > 0.97
    along = vector / np.linalg.norm(vector)
    assert np.linalg.norm(vector) == pytest.approx(((positive - negative) @ along).mean())


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(1, 8), factor=st.floats(0.1, 50))
def test_a_vector_turns_with_its_sides_and_grows_with_their_units(method, seed, width, factor):
    positive, negative = sides(seed, n=12, width=width)
    vector = make_vector(method, positive, negative)
    assert make_vector(method, negative, positive) == pytest.approx(-vector, rel=1e-3, abs=1e-3)
    assert make_vector(method, factor * positive, factor * negative) == pytest.approx(
        factor * vector, rel=1e-3, abs=1e-2
    )


@pytest.mark.parametrize("method", METHODS)
def test_sides_that_do_not_differ_give_no_direction(method):
    same = np.ones((5, 3))
    assert make_vector(method, same, same) == pytest.approx(np.zeros(3))


def test_the_probe_is_a_logistic_regression_on_standardised_activations():
    positive, negative = sides(1)
    positive[:, 2] *= 1000  # a unit of its own
    negative[:, 2] *= 1000
    both = np.concatenate([positive, negative])
    labels = np.repeat([1, 0], len(positive))
    theirs = LogisticRegression(max_iter=1000).fit((both - both.mean(0)) / both.std(0), labels)
    assert cosine(logistic(positive, negative).vector, theirs.coef_[0] / both.std(0)) == pytest.approx(1, abs=1e-6)


def test_a_probe_recognises_held_out_sides_if_they_differ_and_guesses_if_they_do_not():
    apart = logistic(*sides(0, gap=8))
    assert apart.correct(*sides(1, gap=8)).mean() > 0.95
    assert len(apart.correct(*sides(1, gap=8))) == 80
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 200, 6))
    assert logistic(*noise[:2]).correct(*noise[2:]).mean() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("method", ["pca", "logistic"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_direction_without_length_gives_a_zero_vector(method):
    """The sides differ by less than what their variance can be computed to, so that nothing separates them."""
    positive, negative = np.ones((5, 3)), np.ones((5, 3))
    negative[:, 1] += 1e-15
    assert not np.array_equal(positive, negative)
    assert np.isfinite(make_vector(method, positive, negative)).all()
    assert np.abs(make_vector(method, positive, negative)).max() < 1e-14
    tiny = np.zeros((5, 3))
    tiny[0, 0] = 1e-200  # its square is 0
    assert np.abs(make_vector(method, tiny, np.zeros((5, 3)))).max() < 1e-14


def test_a_probe_of_sides_with_the_same_activations_has_no_direction():
    """Each activation is on both sides, so that the coefficients of the regression are 0."""
    positive, _ = sides(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert logistic(positive, positive[::-1].copy()).vector == pytest.approx(np.zeros(6), abs=1e-12)


def test_methods_that_need_more_than_activations():
    positive, negative = sides(0)
    vector = make_vector("random", positive, negative, seed=[1, 2])
    assert np.linalg.norm(vector) == pytest.approx(np.linalg.norm(mean_difference(positive, negative)))
    assert np.array_equal(vector, make_vector("random", positive, negative, seed=[1, 2]))
    assert not np.allclose(vector, make_vector("random", positive, negative, seed=[1, 3]))
    with pytest.raises(LabError, match="unembedding makes directions from the unembedding, not a vector"):
        make_vector("unembedding", positive, negative)
    with pytest.raises(LabError, match="vector method: got 'median', expected 'mean_difference', 'pca', 'logistic'"):
        make_vector("median", positive, negative)
    wrong = VectorMethod("wrong", logistic, "activations", min_prompts=1, is_probe=False)
    with pytest.raises(TypeError, match="wrong is registered with is_probe=False, but returns Probe"):
        wrong.make(positive, negative)
    assert [name for name in VECTOR_METHODS.names if VECTOR_METHODS[name].is_probe] == ["logistic"]


def test_random_directions_have_the_norm_and_differ_by_seed():
    vectors = [random_direction(7.0, 300, [0, 1, seed]) for seed in range(3)]
    assert [np.linalg.norm(vector) for vector in vectors] == pytest.approx([7.0] * 3)
    assert abs(cosine(vectors[0], vectors[1])) < 0.25
    assert np.array_equal(vectors[0], random_direction(7.0, 300, [0, 1, 0]))


def test_the_unembedding_direction_is_each_prompts_own():
    rows = np.arange(12.0).reshape(4, 3) ** 2
    assert unembedding(rows[[1, 3]], rows[[0, 2]]) == pytest.approx(np.array([[9, 15, 21], [45, 51, 57]]))


@pytest.mark.parametrize(
    ("method", "n_positive", "n_negative", "message"),
    [
        ("mean_difference", 3, 0, "its negative side has no prompts to make the vector from, mean_difference needs 1"),
        ("pca", 1, 1, "its positive side has 1 prompt to make the vector from, pca needs 2 or more; raise task.n"),
        ("logistic", 3, 3, "its positive side has 3 prompts to make the vector from, logistic needs 4 or more"),
        ("pca", 4, 5, r"its sides have shapes \[4, 6\] and \[5, 6\]; expected pairs"),
    ],
)
def test_sides_that_are_too_small_are_refused(method, n_positive, n_negative, message):
    positive, negative = sides(0, n=8)
    with pytest.raises(LabError, match=message):
        make_vector(method, positive[:n_positive], negative[:n_negative])


def test_activations_that_are_not_finite_are_refused():
    positive, negative = sides(0)
    negative[3, 2] = np.inf
    with pytest.raises(LabError, match="its negative side has activations that are not finite"):
        make_vector("mean_difference", positive, negative)
