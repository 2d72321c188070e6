"""Agreement prompt by prompt: whether a carried vector moves each prompt as the native one does.

Slopes compare means over prompts. Two vectors with equal slopes can still move different prompts, so the effects on
single prompts are compared too, as Bello et al. 2025 (arXiv 2506.00653) compare native and mapped steering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from ioi_lab.interventions.transfer.unrelated_measure import UnrelatedControls
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.correlation import correlation, correlations
from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.unrelated import upper_quantile_rank


@dataclass(frozen=True)
class Effects:
    """The changes of the logit difference of each prompt by one vector, at all scales but 0, and their slopes."""

    changes: Float[Array, "scale prompt"]
    slopes: Float[Array, "prompt"]


@dataclass(frozen=True)
class Agreement:
    """The agreement between the effects of a carried vector and those of the native one, on the held-out prompts.

    Intervals are over the held-out prompts alone.
    """

    correlation: Estimate
    """Pearson's correlation over prompts between the slopes of the carried and of the native vector."""

    squared_error: Estimate
    """The mean square, over prompts and scales, of the difference between the two changes of the logit difference."""

    relative_error: Estimate
    """The same as a share of the mean square of the native changes: 0 for the same curves, 1 for no effect at all."""

    @classmethod
    def of(cls, carried: Effects, native: Effects, bootstrap: Bootstrap) -> Self:
        """Compare effects at the same scales."""
        errors = np.square(carried.changes - native.changes).mean(axis=0, keepdims=True)
        squares = np.square(native.changes).mean(axis=0, keepdims=True)
        return cls(
            correlation=correlation(carried.slopes, native.slopes, bootstrap),
            squared_error=bootstrap.mean(errors),
            relative_error=bootstrap.ratio(errors, squares) if squares.any() else _unknown(),
        )


@dataclass(frozen=True)
class VectorAgreement:
    """The agreement of the carried vector at both norms, next to what unrelated directions have by the same route."""

    carried: Agreement
    at_native_norm: Agreement
    unrelated: float
    """The 97.5 % quantile of the correlations of unrelated directions with the native vector: prompts that are easy to
    move are moved by other directions too."""

    @classmethod
    def of(
        cls,
        effects: tuple[Effects, Effects, Effects],
        unrelated: Sequence[UnrelatedControls],
        bootstrap: Bootstrap,
    ) -> Self:
        """Compare the effects of the native vector with those of the carried one, and of this one at native norm."""
        native, carried, at_native_norm = effects
        of_unrelated = [correlations(kind.slopes, native.slopes) for kind in unrelated]
        return cls(
            carried=Agreement.of(carried, native, bootstrap),
            at_native_norm=Agreement.of(at_native_norm, native, bootstrap),
            unrelated=max((_upper_quantile(values) for values in of_unrelated), default=float("nan")),
        )


def _upper_quantile(values: Float[Array, "direction"]) -> float:
    """Return the value that a further direction exceeds with a chance of at most 2.5 %; NaN if one is not known."""
    ordered = np.sort(values)
    return float(ordered[upper_quantile_rank(len(ordered)) - 1]) if np.isfinite(ordered).all() else float("nan")


def _unknown() -> Estimate:
    return Estimate(*(np.array([np.nan]) for _ in range(3)))
