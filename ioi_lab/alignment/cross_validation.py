"""Cross-validation of ridge regression on the moments of folds: the best penalty, and the R² with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float

from ioi_lab.alignment.maps import PENALTIES, Spectrum

if TYPE_CHECKING:
    from torch import Tensor

    from ioi_lab.alignment.moments import PairMoments


def cross_validated_penalty(
    parts: Sequence[tuple[PairMoments, PairMoments, Spectrum]], penalties: Sequence[float] = PENALTIES
) -> float:
    """Return the ridge penalty with the smallest squared error over the folds.

    Args:
        parts: For each fold, the moments of all other folds, those of the fold, and the spectrum of x in the others.
        penalties: The penalties to choose from, in mean variances of x.

    """
    return penalties[int(_cross_validation_errors(parts, penalties).argmin())]


def cross_validated_r2(
    parts: Sequence[tuple[PairMoments, PairMoments, Spectrum]], penalties: Sequence[float] = PENALTIES
) -> float:
    """Return the R² of ridge regression over the folds with the best penalty; see `cross_validated_penalty`.

    The total is the squared error of the mean of the other folds; the R² of a constant layer is 0.
    """
    total = sum(
        fold.count * float(fold.yy.trace() + (fold.mean_y - rest.mean_y).square().sum()) for rest, fold, _ in parts
    )
    return -float(_cross_validation_errors(parts, penalties).min()) / total if total else 0.0


def _cross_validation_errors(
    parts: Sequence[tuple[PairMoments, PairMoments, Spectrum]], penalties: Sequence[float]
) -> Float[Tensor, "penalty"]:
    """Return the squared error of each penalty over the folds, less that of the mean."""
    import torch

    errors = torch.zeros(len(penalties), dtype=torch.float64)
    for rest, fold, spectrum in parts:
        around_x, around_y = fold.mean_x - rest.mean_x, fold.mean_y - rest.mean_y
        xx = spectrum.vectors.T @ (fold.xx + torch.outer(around_x, around_x)) @ spectrum.vectors
        xy = spectrum.vectors.T @ (fold.xy + torch.outer(around_x, around_y))
        plain = spectrum.vectors.T @ rest.xy
        for index, penalty in enumerate(penalties):
            matrix = plain / spectrum.damped(penalty)[:, None]
            errors[index] += fold.count * float((matrix * (xx @ matrix)).sum() - 2 * (matrix * xy).sum())
    return errors
