"""Maps from the output of a head of one model to that of a head of another: of the stream, or of the outputs alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from typing_extensions import override

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.alignment.maps import PENALTIES, AffineMap
from ioi_lab.alignment.training import LossCurve
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array

Head = tuple[int, int]
"""A layer, and the index of a head in it."""

Outputs = Mapping[Head, Float[Array, "prompt d_model"]]
"""What each head writes into the residual stream at one position, by prompt."""

FOLDS: Final = 5
"""The number of parts of the answers, of which each is predicted from the others to choose a penalty."""


@dataclass(frozen=True)
class MapTraining:
    """The training of many maps; the stopping loss is that on the answers that are left out to show when to stop."""

    curves: Mapping[tuple[Head, Head], LossCurve]
    """By the heads of source and target."""

    @property
    def n_improved(self) -> int:
        """The number of maps that training has improved; the others are kept as they were fitted."""
        return sum(curve.kept > 0 for curve in self.curves.values())

    @property
    def n_unfinished(self) -> int:
        """The number of trainings that ended at the maximum number of steps."""
        return sum(not curve.has_converged for curve in self.curves.values())

    @property
    def loss_at_start(self) -> float:
        """The stopping loss of the maps as they were fitted, mean over the maps."""
        return float(np.mean([curve.stopping[0] for curve in self.curves.values()]))

    @property
    def loss(self) -> float:
        """The stopping loss of the maps that are kept, mean over the maps."""
        return float(np.mean([curve.stopping[curve.kept] for curve in self.curves.values()]))


class HeadMaps(ABC):
    """Maps between the outputs of any head of the source and any head of the target."""

    @abstractmethod
    def matrix(self, source: Head, target: Head) -> Float[Array, "d_source d_target"]:
        """Return the map of deviations of the source head's output."""

    @abstractmethod
    def r2(self, source: Head, target: Head) -> float:
        """Return the R² of the map on what it was not fitted to."""

    @property
    def unseen(self) -> Sequence[int] | None:
        """The training prompts that heads are chosen on, as maps are not trained on them; None to choose on all."""
        return None

    @property
    def training(self) -> MapTraining | None:
        """How the maps that were asked for have been trained; None if maps are not trained."""
        return None


@dataclass(frozen=True)
class StreamMaps(HeadMaps):
    """The maps of the residual stream after the heads' layers: heads write into this stream."""

    maps: Mapping[PairOfLayers, AffineMap]
    held_out_r2: Mapping[PairOfLayers, float]

    @override
    def matrix(self, source: Head, target: Head) -> Float[Array, "d_source d_target"]:
        matrix: Array = self.maps[source[0], target[0]].matrix.cpu().numpy()
        return matrix

    @override
    def r2(self, source: Head, target: Head) -> float:
        return self.held_out_r2[source[0], target[0]]


@dataclass(frozen=True)
class Contrasts:
    """The differences between the outputs of heads in the clean and in the corrupted pass, of the same prompts."""

    training: Outputs
    held_out: Outputs
    answers: Sequence[str]
    """The answer of each training prompt: the folds share none."""

    @property
    def fold(self) -> Int[NDArray[np.int_], "prompt"]:
        """The fold of each training prompt, 0 to `FOLDS` − 1."""
        numbers = {answer: number for number, answer in enumerate(dict.fromkeys(self.answers))}
        return np.array([numbers[answer] % FOLDS for answer in self.answers])

    def without_fold(self, fold: int) -> Contrasts:
        """Return the contrasts without the training prompts of one fold."""
        kept = np.flatnonzero(self.fold != fold).tolist()
        training = {head: outputs[kept] for head, outputs in self.training.items()}
        return Contrasts(training, self.held_out, [self.answers[index] for index in kept])


@dataclass(frozen=True)
class OutputMaps(HeadMaps):
    """Maps that are fitted to each pair of heads: from the contrast of the one's outputs to that of the other's.

    A map is fitted by ridge regression without intercept on the training prompts, with the penalty that predicts the
    prompts of other answers best. It sees the subspace in which the head differs between clean and corrupted prompts,
    and writes into that of the other head; everything else of the stream is left out.
    """

    source: Contrasts
    target: Contrasts
    _fitted: dict[tuple[Head, Head], Float[Array, "d_source d_target"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.source.answers)) < FOLDS:
            raise LabError(
                f"intervention.head_map: a map of outputs is fitted to training prompts with {FOLDS} or more different "
                f"answers, got {len(set(self.source.answers))}; raise task.n"
            )

    @override
    def matrix(self, source: Head, target: Head) -> Float[Array, "d_source d_target"]:
        if (source, target) not in self._fitted:
            x, y = self.source.training[source], self.target.training[target]
            self._fitted[source, target] = DualRidge.of(x, y).matrix(self._penalty(x, y))
        return self._fitted[source, target]

    @override
    def r2(self, source: Head, target: Head) -> float:
        """Return the share of the held-out prompts' contrast (not centred) that the map explains."""
        x, y = self.source.held_out[source], self.target.held_out[target]
        return 1 - float(np.square(y - x @ self.matrix(source, target)).sum() / np.square(y).sum())

    def _penalty(self, x: Float[Array, "prompt d_source"], y: Float[Array, "prompt d_target"]) -> float:
        fold = self.source.fold
        errors = np.zeros(len(PENALTIES))
        for left_out in range(FOLDS):
            fit = DualRidge.of(x[fold != left_out], y[fold != left_out])
            for index, penalty in enumerate(PENALTIES):
                predicted = x[fold == left_out] @ fit.matrix(penalty)
                errors[index] += np.square(predicted - y[fold == left_out]).sum()
        return PENALTIES[int(errors.argmin())]


@dataclass(frozen=True)
class DualRidge:
    """Ridge regression without intercept for fewer prompts than dimensions, with any penalty."""

    x: Float[Array, "prompt d_source"]
    y: Float[Array, "prompt d_target"]
    values: Float[Array, "prompt"]
    vectors: Float[Array, "prompt prompt"]

    @classmethod
    def of(cls, x: Float[Array, "prompt d_source"], y: Float[Array, "prompt d_target"]) -> Self:
        """Return the regression of y on x."""
        values, vectors = np.linalg.eigh(x @ x.T)
        return cls(x, y, np.maximum(values, 0), vectors)

    def matrix(self, penalty: float) -> Float[Array, "d_source d_target"]:
        """Return the coefficients for a penalty in mean squares of a dimension of x."""
        damped = self.values + penalty * self.values.sum() / self.x.shape[1] + np.finfo(np.float64).tiny
        kept = self.values > 1e-12 * max(self.values.max(initial=0.0), np.finfo(np.float64).tiny)
        inverse = np.where(kept, 1 / np.where(kept, damped, 1.0), 0.0)
        matrix: Array = self.x.T @ (self.vectors * inverse) @ (self.vectors.T @ self.y)
        return matrix
