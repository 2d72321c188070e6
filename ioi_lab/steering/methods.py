"""Ways to make a steering vector from the activations of the two sides of a contrast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Method = Literal["mean_difference", "pca", "logistic", "unembedding", "random"]

Activations = Float[Array, "prompt d"]

Vector = Float[Array, "d"]


def mean_difference(positive: Activations, negative: Activations) -> Vector:
    """Mean of the positive side less mean of the negative side (Turner et al. 2023; Rimsky et al. 2023)."""
    check_sides(positive, negative, "mean_difference")
    vector: Vector = positive.mean(axis=0) - negative.mean(axis=0)
    return vector


def pca(positive: Activations, negative: Activations) -> Vector:
    """First principal component of the pairs' differences and their negatives (Zou et al. 2023, arXiv 2310.01405)."""
    from sklearn.decomposition import PCA

    check_sides(positive, negative, "pca")
    differences = positive - negative
    if not differences.any():
        return np.zeros(positive.shape[1])
    components = PCA(n_components=1, random_state=0).fit(np.concatenate([differences, -differences])).components_
    return _as_long_as_the_sides_are_apart(components[0], positive, negative)


def logistic(positive: Activations, negative: Activations) -> Vector:
    """The normal of a logistic regression's boundary between the sides (a probe)."""
    if np.array_equal(positive, negative):
        return np.zeros(positive.shape[1])
    scaler, regression = fit_probe(positive, negative).named_steps.values()
    return _as_long_as_the_sides_are_apart(regression.coef_[0] / scaler.scale_, positive, negative)


METHODS: Final[Mapping[str, Callable[[Activations, Activations], Vector]]] = {
    "mean_difference": mean_difference,
    "pca": pca,
    "logistic": logistic,
}
"""The methods that need nothing but activations."""

MIN_SIDE_PROMPTS: Final[Mapping[str, int]] = {"mean_difference": 1, "pca": 2, "logistic": 4, "random": 1}
"""How many prompts a side each needs."""


def unembedding(
    answers: Float[Array, "prompt d_model"], distractors: Float[Array, "prompt d_model"]
) -> Float[Array, "prompt d_model"]:
    """W_U[answer] − W_U[distractor] of each prompt: the direction that the logit difference is read from."""
    return answers - distractors


def random_direction(norm: float, width: int, seed: Sequence[int]) -> Vector:
    """A vector of this norm in a direction drawn at random, the same for the same seed (whole numbers ≥ 0)."""
    direction = np.random.default_rng(list(seed)).standard_normal(width)
    scaled: Vector = direction * (norm / float(np.linalg.norm(direction)))
    return scaled


def fit_probe(positive: Activations, negative: Activations) -> Pipeline:
    """A logistic regression (scikit-learn, L2 penalty) on standardised activations: 1 is the positive side."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check_sides(positive, negative, "logistic")
    probe: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(np.concatenate([positive, negative]), _sides(positive, negative))
    return probe


def probe_accuracy(probe: Pipeline, positive: Activations, negative: Activations) -> Float[Array, "activation"]:
    """1 where the probe tells the side of an activation, 0 where it does not: the positive ones, then the negative."""
    told = probe.predict(np.concatenate([positive, negative]))
    correct: Array = (told == _sides(positive, negative)).astype(np.float64)
    return correct


def check_sides(positive: Activations, negative: Activations, method: str) -> None:
    """Raise a `LabError` unless both sides are pairs of finite activations, and as many as the method needs."""
    for name, side in (("positive", positive), ("negative", negative)):
        if len(side) < MIN_SIDE_PROMPTS[method]:
            has = f"{len(side)} prompt{'s' * (len(side) != 1)}" if len(side) else "no prompts"
            raise LabError(
                f"intervention.contrast: its {name} side has {has} to make the vector from, {method} needs "
                f"{MIN_SIDE_PROMPTS[method]} or more; raise task.n"
            )
        if not np.isfinite(side).all():
            raise LabError(f"intervention.contrast: its {name} side holds activations that are not finite")
    if positive.shape != negative.shape:
        raise LabError(
            f"intervention.contrast: its sides have shapes {list(positive.shape)} and {list(negative.shape)}; expected "
            "pairs"
        )


def _sides(positive: Activations, negative: Activations) -> Float[Array, "activation"]:
    return np.repeat([1.0, 0.0], [len(positive), len(negative)])


def _as_long_as_the_sides_are_apart(direction: Vector, positive: Activations, negative: Activations) -> Vector:
    unit = direction / np.linalg.norm(direction)
    return unit * float((positive - negative).mean(axis=0) @ unit)
