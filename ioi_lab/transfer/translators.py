"""Two ways through the tokens that two models share: by the logits of each direction, or by one map of unembeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.vocabulary import SharedVocabulary

Translation = Literal["logits", "rows"]

PENALTIES: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""The penalties of ridge regression that the error on left-out tokens chooses from, in mean squares of a dimension."""

_FOLDS: Final = 5
"""The number of parts of the shared tokens, each of which is predicted from the others."""


@dataclass(frozen=True)
class Choice:
    """A penalty, and how well left-out tokens are predicted with it."""

    penalty: float
    r2: float
    """The share of the (weighted) variance of left-out tokens that is explained."""


class Translator(ABC):
    """Translates directions of the source into directions of the target."""

    shared: SharedVocabulary
    choice: Choice

    @abstractmethod
    def translate(
        self, direction: Float[Array, "d_source"], shuffle: np.random.Generator | None = None
    ) -> Float[Array, "d_target"]:
        """Return the target's direction; `shuffle` gives each shared token the place of another one."""


@dataclass(frozen=True)
class LogitTranslator(Translator):
    """Finds the direction of the target that writes the logits of the source's direction, to the same tokens.

    `source` and `target` are the results of `token_readout`. It is found by ridge regression over the shared tokens,
    and scaled to fit best. Each token is weighted by the square of its logit: a direction is about few tokens of a
    vocabulary, and all others would outweigh them.
    """

    source: Float[Array, "vocab_source d_source"]
    target: Float[Array, "vocab_target d_target"]
    shared: SharedVocabulary
    choice: Choice

    @classmethod
    def fitted(
        cls,
        readouts: tuple[Float[Array, "vocab_source d_source"], Float[Array, "vocab_target d_target"]],
        shared: SharedVocabulary,
        direction: Float[Array, "d_source"],
    ) -> Self:
        """Return the translator with the penalty that predicts the logits of one direction best at left-out tokens."""
        logits = _centred(readouts[0] @ direction)[shared.source]
        return cls(*readouts, shared, chosen_penalty(readouts[1][shared.target], logits[:, None], np.square(logits)))

    @override
    def translate(
        self, direction: Float[Array, "d_source"], shuffle: np.random.Generator | None = None
    ) -> Float[Array, "d_target"]:
        logits = _centred(self.source @ direction)[self.shared.source]
        if shuffle is not None:
            logits = shuffle.permutation(logits)
        weights = np.square(logits)
        if not weights.any():
            return np.zeros(self.target.shape[1])
        readout = self.target[self.shared.target]
        fitted: Array = WeightedRidge.of(readout, logits[:, None], weights).coefficients(self.choice.penalty)[:, 0]
        written, wanted = (values - np.average(values, weights=weights) for values in (readout @ fitted, logits))
        squares = (weights * written) @ written
        return fitted * float((weights * written) @ wanted / squares) if squares else fitted

    def shared_mass(self, direction: Float[Array, "d_source"]) -> float:
        """Return the share of Σ|logit − mean logit| that lies on shared tokens."""
        logits = np.abs(_centred(self.source @ direction))
        total = logits.sum()
        return float(logits[self.shared.source].sum() / total) if total else 0.0


@dataclass(frozen=True)
class RowTranslator(Translator):
    """One linear map for all directions, fitted to send the source's unembedding of each shared token to the target's.

    The map of Lee et al. 2025 (arXiv 2503.21073), who fit it by least squares; here with the ridge penalty that
    predicts the rows of left-out tokens best.
    """

    source: Float[Array, "token d_source"]
    target: Float[Array, "token d_target"]
    shared: SharedVocabulary
    choice: Choice
    matrix: Float[Array, "d_source d_target"]

    @classmethod
    def fitted(
        cls,
        unembeddings: tuple[Float[Array, "vocab_source d_source"], Float[Array, "vocab_target d_target"]],
        shared: SharedVocabulary,
    ) -> Self:
        """Fit the map to the unembedding rows of the shared tokens."""
        source, target = unembeddings[0][shared.source], unembeddings[1][shared.target]
        choice = chosen_penalty(source, target, np.ones(len(source)))
        return cls(source, target, shared, choice, cls._matrix(source, target, choice.penalty))

    @override
    def translate(
        self, direction: Float[Array, "d_source"], shuffle: np.random.Generator | None = None
    ) -> Float[Array, "d_target"]:
        if shuffle is None:
            image: Array = direction @ self.matrix
            return image
        of_others = self._matrix(self.source, shuffle.permutation(self.target), self.choice.penalty)
        shuffled: Array = direction @ of_others
        return shuffled

    @staticmethod
    def _matrix(
        source: Float[Array, "token d_source"], target: Float[Array, "token d_target"], penalty: float
    ) -> Float[Array, "d_source d_target"]:
        return WeightedRidge.of(source, target, np.ones(len(source))).coefficients(penalty)


@dataclass(frozen=True)
class WeightedRidge:
    """Ridge regression with an intercept and weights, for any penalty."""

    values: Float[Array, "d"]
    vectors: Float[Array, "d d"]
    products: Float[Array, "d target"]
    mean_x: Float[Array, "d"]
    mean_y: Float[Array, "target"]

    @classmethod
    def of(cls, x: Float[Array, "token d"], y: Float[Array, "token target"], weights: Float[Array, "token"]) -> Self:
        """Return the regression of y on x."""
        shares = weights / weights.sum()
        mean_x, mean_y = shares @ x, shares @ y
        weighted = (x - mean_x) * shares[:, None]
        values, vectors = np.linalg.eigh((x - mean_x).T @ weighted)
        return cls(np.maximum(values, 0), vectors, weighted.T @ (y - mean_y), mean_x, mean_y)

    def coefficients(self, penalty: float) -> Float[Array, "d target"]:
        """Return the coefficients for a penalty in mean squares of a dimension of x."""
        damped = self.values + penalty * self.values.mean() + np.finfo(np.float64).tiny
        coefficients: Array = (self.vectors / damped) @ (self.vectors.T @ self.products)
        return coefficients


def chosen_penalty(
    x: Float[Array, "token d"], y: Float[Array, "token target"], weights: Float[Array, "token"]
) -> Choice:
    """Return the penalty with the least weighted error of y at tokens that the regression on x was not fitted to.

    The folds take every fifth token in an order that is drawn once, from a fixed seed.
    """
    fold = np.random.default_rng(0).permutation(len(x)) % _FOLDS
    errors, total = np.zeros(len(PENALTIES)), 0.0
    for left_out in range(_FOLDS):
        kept, tried = fold != left_out, fold == left_out
        if not (weights[kept].any() and weights[tried].any()):
            continue
        fit = WeightedRidge.of(x[kept], y[kept], weights[kept])
        total += float(weights[tried] @ np.square(y[tried] - fit.mean_y).sum(axis=1))
        for index, penalty in enumerate(PENALTIES):
            predicted = (x[tried] - fit.mean_x) @ fit.coefficients(penalty) + fit.mean_y
            errors[index] += weights[tried] @ np.square(y[tried] - predicted).sum(axis=1)
    best = int(errors.argmin())
    return Choice(PENALTIES[best], 1 - float(errors[best]) / total if total else float("nan"))


def _centred(logits: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    centred: Array = logits - logits.mean()
    return centred
