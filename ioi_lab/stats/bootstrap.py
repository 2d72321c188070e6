"""Estimates: means and ratios over prompts with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.stats.metrics import Array

MIN_PROMPTS: Final = 8
"""The least number of prompts with intervals: a percentile bootstrap over fewer covers far less than 95 %."""


@dataclass(frozen=True)
class Estimate:
    """Statistics over prompts with the bounds of their 95 % intervals: by the bootstrap, or `wilson`'s for shares.

    The bootstrap's bounds are NaN if they are unknown: with fewer than `MIN_PROMPTS` prompts, and for a ratio whose
    denominator vanishes or changes its sign in some resample.
    """

    value: Float[Array, "edit_set"]
    low: Float[Array, "edit_set"]
    high: Float[Array, "edit_set"]

    @classmethod
    def joined(cls, estimates: Sequence[Estimate]) -> Self:
        """Return the rows of several estimates, one after another."""
        return cls(*(np.concatenate([getattr(each, name) for each in estimates]) for name in ("value", "low", "high")))

    @property
    def has_bounds(self) -> bool:
        """Whether the intervals of all rows are known."""
        return bool(np.isfinite(self.low).all())

    def exceeds(self, bound: float = 0.0) -> Bool[NDArray[np.bool_], "edit_set"]:
        """Return whether each value is above `bound` with its whole interval; by itself if the interval is unknown."""
        return np.asarray(np.where(np.isfinite(self.low), self.low, self.value) > bound)

    def rows(self, rows: slice) -> Estimate:
        """Return some of the rows."""
        return Estimate(self.value[rows], self.low[rows], self.high[rows])

    def minus(self, constant: float) -> Estimate:
        """Return the estimate of the statistic less a constant."""
        return Estimate(self.value - constant, self.low - constant, self.high - constant)


class Bootstrap:
    """The percentile bootstrap over prompts (Efron 1979), with the same resamples for every statistic.

    Args:
        n_prompts: The number of prompts.
        seed: Draws the resamples.
        resamples: The number of resamples.

    """

    def __init__(self, n_prompts: int, seed: int, resamples: int = 1000) -> None:
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=resamples)
        self._weights = counts / n_prompts  # [resample, prompt]
        self._seed = seed

    def over(self, n_prompts: int) -> Bootstrap:
        """Return a bootstrap over another number of prompts, from the same seed."""
        return Bootstrap(n_prompts, self._seed, len(self._weights))

    def mean(self, values: Float[Array, "edit_set prompt"]) -> Estimate:
        """Return the means over prompts."""
        return self._estimate(values.mean(axis=1), values @ self._weights.T)

    def recovery(
        self,
        edited: Float[Array, "edit_set prompt"],
        clean: Float[Array, "1 prompt"],
        corrupted: Float[Array, "1 prompt"],
    ) -> Estimate:
        """Return (edited − corrupted) / (clean − corrupted) of the mean logit differences: 0 = corrupted, 1 = clean.

        It is a ratio of means (as in TransformerLens' IOI metric), so that no single prompt with a small gap dominates.
        """
        return self.ratio(edited - corrupted, clean - corrupted)

    def ratio(
        self, numerator: Float[Array, "edit_set prompt"], denominator: Float[Array, "#edit_set prompt"]
    ) -> Estimate:
        """Return the ratios of the means.

        Bounds are unknown if the denominator's mean vanishes or changes its sign in some resample.
        """
        whole, parts = denominator.mean(axis=1), denominator @ self._weights.T
        parts = np.where(parts * whole[:, None] > 0, parts, np.nan)
        return self._estimate(numerator.mean(axis=1) / whole, (numerator @ self._weights.T) / parts)

    def _estimate(self, value: Array, samples: Float[Array, "edit_set resample"]) -> Estimate:
        low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
        if self._weights.shape[1] >= MIN_PROMPTS:
            known = np.isfinite(samples).all(axis=1)
            low[known], high[known] = np.quantile(samples[known], (0.025, 0.975), axis=1)
        return Estimate(value, low, high)
