"""Maps from one residual stream to another: each method is one plain function of means and covariances.

x and y are what two models hold at the same positions; a map is fitted to send x to y. scikit-learn has ridge
regression and PCA for activations in memory; these are the same closed forms on moments, for those that do not
fit there (tests compare them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.alignment.moments import PairMoments

PENALTIES: Final = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Ridge penalties that cross-validation chooses from, in mean variances of x."""


_ROUNDING: Final = 1e-13


@dataclass(frozen=True)
class AffineMap:
    """y ≈ x · matrix + bias."""

    matrix: Float[Tensor, "d_x d_y"]
    bias: Float[Tensor, "d_y"]

    def __call__(self, x: Float[Tensor, "... d_x"]) -> Float[Tensor, "... d_y"]:
        """Send activations over."""
        return x @ self.matrix + self.bias

    def direction(self, vector: Float[Tensor, "... d_x"]) -> Float[Tensor, "... d_y"]:
        """Send a direction, or a difference of activations, over."""
        return vector @ self.matrix

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return self.matrix.numel() + self.bias.numel()


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues and eigenvectors (columns) of the covariance of x: found once for all maps from a layer."""

    values: Float[Tensor, "d_x"]
    vectors: Float[Tensor, "d_x d_x"]
    rounding: float
    """What rounding may have made of a variance that is 0."""

    @classmethod
    def of(cls, moments: PairMoments) -> Spectrum:
        """Of the positions that a map is fitted on."""
        values, vectors = torch.linalg.eigh(moments.xx)
        squares = moments.xx.diagonal().mean() + moments.mean_x.square().mean()
        return cls(values.clamp_min(0), vectors, _ROUNDING * float(squares))

    def damped(self, penalty: float) -> Float[Tensor, "d_x"]:
        """The eigenvalues with a penalty in their mean added; above 0 even for a layer that holds but one value."""
        return self.values + penalty * self.values.mean() + max(self.rounding, torch.finfo(self.values.dtype).tiny)


def ridge(moments: PairMoments, penalty: float, spectrum: Spectrum | None = None) -> AffineMap:
    """Ridge regression with an intercept; `penalty` in mean variances of x, a position: λ = penalty · tr(xx) / d_x."""
    spectrum = spectrum or Spectrum.of(moments)
    matrix = spectrum.vectors @ ((spectrum.vectors.T @ moments.xy) / spectrum.damped(penalty)[:, None])
    return _through_the_means(matrix, moments)


def procrustes(moments: PairMoments) -> AffineMap:
    """An orthogonal map up to a scale, by the singular value decomposition of the covariance (Schönemann 1966).

    Where widths differ, both are reduced to the smaller one by PCA, and what is mapped lies in that subspace.
    """
    rank = min(moments.xy.shape)
    into_x, into_y = (_principal_axes(covariance, rank) for covariance in (moments.xx, moments.yy))
    left, singular, right = torch.linalg.svd(into_x.T @ moments.xy @ into_y)
    scale = singular.sum() / torch.trace(into_x.T @ moments.xx @ into_x)
    return _through_the_means(scale * into_x @ left @ right @ into_y.T, moments)


def lowrank(moments: PairMoments, rank: int, penalty: float, spectrum: Spectrum | None = None) -> AffineMap:
    """Reduced-rank ridge regression: the best map of this rank (Izenman 1975; Mukherjee and Zhu 2011)."""
    spectrum = spectrum or Spectrum.of(moments)
    full = ridge(moments, penalty, spectrum).matrix
    damped = moments.xx + penalty * spectrum.values.mean() * torch.eye(len(moments.xx)).to(full)
    kept = _principal_axes(full.T @ damped @ full, rank)
    return _through_the_means(full @ kept @ kept.T, moments)


def mean_shift(moments: PairMoments) -> AffineMap:
    """The control that knows the means alone, and takes both models to share their axes: y = x − mean(x) + mean(y).

    Where widths differ, axes that only one of them has are left out or filled with the mean.
    """
    return _through_the_means(torch.eye(*moments.xy.shape).to(moments.xy), moments)


def cross_validated_penalty(
    parts: Sequence[tuple[PairMoments, PairMoments, Spectrum]], penalties: Sequence[float] = PENALTIES
) -> float:
    """The ridge penalty with the least squared error over the folds.

    `parts`: for each fold the moments of all others, those of the fold, and the spectrum of x in the others.
    """
    errors = torch.zeros(len(penalties), dtype=torch.float64)
    for rest, fold, spectrum in parts:
        around_x, around_y = fold.mean_x - rest.mean_x, fold.mean_y - rest.mean_y
        xx = spectrum.vectors.T @ (fold.xx + torch.outer(around_x, around_x)) @ spectrum.vectors
        xy = spectrum.vectors.T @ (fold.xy + torch.outer(around_x, around_y))
        plain = spectrum.vectors.T @ rest.xy
        for index, penalty in enumerate(penalties):
            matrix = plain / spectrum.damped(penalty)[:, None]
            errors[index] += fold.count * float((matrix * (xx @ matrix)).sum() - 2 * (matrix * xy).sum())
    return penalties[int(errors.argmin())]


def _through_the_means(matrix: Float[Tensor, "d_x d_y"], moments: PairMoments) -> AffineMap:
    return AffineMap(matrix, moments.mean_y - moments.mean_x @ matrix)


def _principal_axes(covariance: Float[Tensor, "d d"], count: int) -> Float[Tensor, "d count"]:
    axes: Tensor = torch.linalg.eigh(covariance).eigenvectors[:, -count:]
    return axes
