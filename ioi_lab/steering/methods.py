"""Ways to make a steering vector from the activations of the two sides of a contrast.

A method is one function, which the decorator `vector_method` registers together with what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.errors import LabError
from ioi_lab.registry import Registry
from ioi_lab.stats.metrics import Array

Activations = Float[Array, "prompt d"]

Vector = Float[Array, "d"]

Needs = Literal["activations", "activations and seed", "unembedding"]

FunctionT = Callable[..., Any]


@dataclass(frozen=True)
class Probe:
    """A classifier of activations, and the direction that it reads."""

    vector: Vector
    is_positive: Callable[[Activations], Bool[NDArray[np.bool_], "prompt"]]
    """Returns, for each activation, whether the classifier takes it for one of the positive side."""

    def correct(self, positive: Activations, negative: Activations) -> Float[Array, "activation"]:
        """Return 1 for each activation whose side is recognised and 0 for the others, the positive side first."""
        return np.concatenate([self.is_positive(positive), ~self.is_positive(negative)]).astype(np.float64)


@dataclass(frozen=True)
class VectorMethod:
    """A way to make a steering vector, and what it needs."""

    name: str
    function: FunctionT
    needs: Needs
    """The arguments of the function.

    `activations`: those of the positive and of the negative side, `[prompt, d]` each, row by row pairs. The function
    returns the vector. `activations and seed`: also `seed`, a list of whole numbers ≥ 0 that differs from site to site.
    `unembedding`: the columns of W_U of the steered prompts' answers and distractors, `[prompt, d_model]` each. The
    function returns a direction `[prompt, d_model]` for each prompt.
    """

    min_prompts: int
    """The least number of prompts per side."""

    is_probe: bool
    """Whether the function returns a `Probe`, whose accuracy is measured on held-out activations, not a vector."""

    def make(self, positive: Activations, negative: Activations, seed: Sequence[int] = (0,)) -> Vector | Probe:
        """Make the vector, or the probe, of the two sides of a contrast.

        Raises a `LabError` if the method needs the unembedding, and unless both sides are pairs of finite activations
        of enough prompts; a `TypeError` if the function does not return what `is_probe` promises.
        """
        if self.needs == "unembedding":
            raise LabError(f"{self.name} makes directions from the unembedding, not a vector from activations")
        self._check(positive, negative)
        seeds = {"seed": seed} if self.needs == "activations and seed" else {}
        made: Vector | Probe = self.function(positive, negative, **seeds)
        if isinstance(made, Probe) != self.is_probe:
            raise TypeError(
                f"{self.name} is registered with is_probe={self.is_probe}, but returns {type(made).__name__}"
            )
        return made

    def _check(self, positive: Activations, negative: Activations) -> None:
        for name, side in (("positive", positive), ("negative", negative)):
            if len(side) < self.min_prompts:
                has = f"{len(side)} prompt{'s' * (len(side) != 1)}" if len(side) else "no prompts"
                raise LabError(
                    f"intervention.contrast: its {name} side has {has} to make the vector from, {self.name} needs "
                    f"{self.min_prompts} or more; raise task.n"
                )
            if not np.isfinite(side).all():
                raise LabError(f"intervention.contrast: its {name} side has activations that are not finite")
        if positive.shape != negative.shape:
            raise LabError(
                f"intervention.contrast: its sides have shapes {list(positive.shape)} and {list(negative.shape)}; "
                "expected pairs"
            )


VECTOR_METHODS: Final[Registry[VectorMethod]] = Registry("vector method")


def vector_method(
    name: str, *, needs: Needs = "activations", min_prompts: int = 1, is_probe: bool = False
) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that registers a function as a vector method; the arguments are those of `VectorMethod`."""

    def register(function: FunctionT) -> FunctionT:
        VECTOR_METHODS.register(name)(VectorMethod(name, function, needs, min_prompts, is_probe))
        return function

    return register


def make_vector(method: str, positive: Activations, negative: Activations, seed: Sequence[int] = (0,)) -> Vector:
    """Return the vector of any method that needs activations alone, of a probe its direction.

    Raises a `LabError` for an unknown method, and like `VectorMethod.make`.
    """
    made = VECTOR_METHODS[method].make(positive, negative, seed)
    return made.vector if isinstance(made, Probe) else made


@vector_method("mean_difference")
def mean_difference(positive: Activations, negative: Activations) -> Vector:
    """Return the mean of the positive side less the mean of the negative side.

    Turner et al. 2023 (arXiv 2308.10248); Rimsky et al. 2023 (arXiv 2312.06681).
    """
    vector: Vector = positive.mean(axis=0) - negative.mean(axis=0)
    return vector


@vector_method("pca", min_prompts=2)
def pca(positive: Activations, negative: Activations) -> Vector:
    """Return the first principal component of the pairs' differences and their negatives.

    Zou et al. 2023 (arXiv 2310.01405).
    """
    from sklearn.decomposition import PCA

    differences = positive - negative
    if not np.square(differences).any():  # there is no variance, which scikit-learn would divide by
        return np.zeros(positive.shape[1])
    components = PCA(n_components=1, random_state=0).fit(np.concatenate([differences, -differences])).components_
    return _with_the_distance_of_the_sides(components[0], positive, negative)


@vector_method("logistic", min_prompts=4, is_probe=True)
def logistic(positive: Activations, negative: Activations) -> Probe:
    """Return a logistic regression (scikit-learn, L2 penalty) on standardised activations.

    Its vector is the normal of the boundary between the sides.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler, regression = StandardScaler(), LogisticRegression(max_iter=1000)
    pipeline = make_pipeline(scaler, regression)
    pipeline.fit(np.concatenate([positive, negative]), np.repeat([True, False], [len(positive), len(negative)]))
    vector = np.zeros(positive.shape[1])
    if not np.array_equal(positive, negative):
        vector = _with_the_distance_of_the_sides(regression.coef_[0] / scaler.scale_, positive, negative)
    return Probe(vector, pipeline.predict)


@vector_method("unembedding", needs="unembedding")
def unembedding(
    answers: Float[Array, "prompt d_model"], distractors: Float[Array, "prompt d_model"]
) -> Float[Array, "prompt d_model"]:
    """Return W_U[answer] − W_U[distractor] of each prompt: the direction that the logit difference is read from."""
    return answers - distractors


@vector_method("random", needs="activations and seed")
def random_vector(positive: Activations, negative: Activations, seed: Sequence[int]) -> Vector:
    """Return a random direction of the norm of the mean difference."""
    norm = float(np.linalg.norm(mean_difference(positive, negative)))
    return random_direction(norm, positive.shape[1], seed)


def random_direction(norm: float, width: int, seed: Sequence[int]) -> Vector:
    """Return a vector of this norm in a direction drawn at random, the same for the same seed (whole numbers ≥ 0)."""
    direction = np.random.default_rng(list(seed)).standard_normal(width)
    scaled: Vector = direction * (norm / float(np.linalg.norm(direction)))
    return scaled


def _with_the_distance_of_the_sides(direction: Vector, positive: Activations, negative: Activations) -> Vector:
    """Return the direction with the length of the mean distance of the sides along it; zeros if it has no length."""
    norm = np.linalg.norm(direction)
    if norm == 0:
        return np.zeros_like(direction)
    unit = direction / norm
    return unit * float((positive - negative).mean(axis=0) @ unit)
