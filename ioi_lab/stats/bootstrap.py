"""Estimates: means, ratios and shares over prompts with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, Self

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.stats.metrics import Array
from ioi_lab.stats.proportions import wilson_bounds

MIN_PROMPTS: Final = 8
"""The least number of prompts with intervals; `python -m benchmarks.coverage` measures how often they are right."""

Over = Literal["prompts", "sentences"]
"""What intervals are taken over: single prompts, or all prompts with one sentence (or mark of their group) together."""

_ROWS_AT_ONCE: Final = 2048
"""The number of rows that are resampled at a time, which bounds the memory."""

_MIN_SPREAD: Final = 0.05
"""The least variance of a resample, as a share of the variance of all values: those of few values can be next to 0."""

_ROUNDING: Final = 1e-12
"""Values that differ by less than this share of the largest one are equal up to rounding."""


@dataclass(frozen=True)
class Estimate:
    """Statistics over prompts with the bounds of their 95 % intervals, a row per edit set.

    Bounds are NaN if they are unknown: with fewer than `MIN_PROMPTS` prompts, for values that do not vary over prompts,
    and for a ratio whose denominator vanishes or changes its sign in some resample.
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
        """Whether the interval of some row is known."""
        return bool(np.isfinite(self.low).any())

    def exceeds(self, bound: float = 0.0) -> Bool[NDArray[np.bool_], "edit_set"]:
        """Return whether each value is above `bound` with its whole interval, which has to be known."""
        return np.asarray(np.nan_to_num(self.low, nan=-np.inf) > bound)

    def differs(self, constant: float = 0.0) -> Bool[NDArray[np.bool_], "edit_set"]:
        """Return whether each interval is known and does not include a constant."""
        return self.exceeds(constant) | np.asarray(np.nan_to_num(self.high, nan=np.inf) < constant)

    def rows(self, rows: slice | list[int]) -> Estimate:
        """Return some of the rows."""
        return Estimate(self.value[rows], self.low[rows], self.high[rows])

    def negated(self) -> Estimate:
        """Return the estimate of the statistic with the other sign."""
        return Estimate(-self.value, -self.high, -self.low)

    def less(self, other: Estimate) -> Estimate:
        """Return the differences from an estimate over other prompts, with the bounds of Zou & Donner 2008 (MOVER)."""
        value = self.value - other.value
        below = np.hypot(self.value - self.low, other.high - other.value)
        above = np.hypot(self.high - self.value, other.value - other.low)
        return Estimate(value, value - below, value + above)

    def minus(self, constant: float) -> Estimate:
        """Return the estimate of the statistic less a constant."""
        return Estimate(self.value - constant, self.low - constant, self.high - constant)


@dataclass(frozen=True, eq=False)
class _Denominator:
    """The denominator of ratios of means, and its means in resamples: those of a mean over prompts are made once."""

    values: Float[Array, "#row unit"]
    weights: Float[Array, "unit resample"]

    @cached_property
    def whole(self) -> Float[Array, "#row 1"]:
        """The means of all values."""
        return np.asarray(self.values.mean(axis=1, keepdims=True))

    @cached_property
    def resampled(self) -> Float[Array, "#row resample"]:
        """The means in the resamples; NaN if they vanish or have another sign than those of all values."""
        means = self.values @ self.weights
        return np.where(means * self.whole > 0, means, np.nan)

    @cached_property
    def squares(self) -> Float[Array, "#row resample"]:
        """The mean squares in the resamples."""
        return np.asarray(self.values**2 @ self.weights)

    def rows(self, rows: slice) -> _Denominator:
        """Return the denominator of some of the ratios; a single one is that of all."""
        return self if len(self.values) == 1 else _Denominator(self.values[rows], self.weights)


class Bootstrap:
    """The studentized bootstrap over prompts (Efron & Tibshirani 1993, section 12.5), or over groups of prompts.

    Every statistic is taken on the same resamples. Each resample's statistic is divided by its own standard error,
    which makes up for most of what a percentile interval misses with few prompts. Standard errors are those of ratios
    of means, to first order; a mean over prompts in groups is the ratio of the groups' sums to their sizes.

    Args:
        n_prompts: The number of prompts.
        seed: Draws the resamples.
        resamples: The number of resamples.
        groups: The group of each prompt, such as its sentence: whole groups are drawn. None draws prompts.

    """

    def __init__(self, n_prompts: int, seed: int, resamples: int = 1000, groups: Sequence[int] | None = None) -> None:
        self._n_prompts, self._seed, self._groups = n_prompts, seed, groups
        self._members: Float[Array, "prompt group"] | None = None
        n_units = n_prompts
        if groups is not None:
            _, index = np.unique(groups, return_inverse=True)
            n_units = int(index.max()) + 1
            self._members = np.eye(n_units)[index]
        counts = np.random.default_rng(seed).multinomial(n_units, np.full(n_units, 1 / n_units), size=resamples)
        self._weights = counts / n_units  # [resample, unit]

    def over(self, n_prompts: int) -> Bootstrap:
        """Return a bootstrap over another number of prompts, without groups, from the same seed."""
        return Bootstrap(n_prompts, self._seed, len(self._weights))

    def among(self, prompts: Sequence[int]) -> Bootstrap:
        """Return a bootstrap over some of the prompts, from the same seed."""
        groups = None if self._groups is None else [self._groups[prompt] for prompt in prompts]
        return Bootstrap(len(prompts), self._seed, len(self._weights), groups)

    def halves(self) -> tuple[list[int], list[int]]:
        """Return two halves of the prompts, drawn from the seed; groups of prompts stay together."""
        is_first = np.zeros(self.n_units, dtype=bool)
        is_first[np.random.default_rng(self._seed).permutation(self.n_units)[: self.n_units // 2]] = True
        of_prompts = is_first if self._members is None else self._members @ is_first > 0
        return np.flatnonzero(of_prompts).tolist(), np.flatnonzero(~of_prompts).tolist()

    @property
    def n_units(self) -> int:
        """The number of what is drawn: prompts, or groups."""
        return int(self._weights.shape[1])

    @property
    def prompt_weights(self) -> Float[Array, "resample prompt"]:
        """The share of each prompt in each resample, for statistics other than ratios of means."""
        weights = self._weights if self._members is None else self._weights @ self._members.T
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def mean(self, values: Float[Array, "edit_set prompt"]) -> Estimate:
        """Return the means over prompts."""
        return self._ratio(values, self._sizes)

    @cached_property
    def _sizes(self) -> _Denominator:
        """The denominator of means over prompts: 1, or the number of prompts in each group."""
        return self._denominator(np.ones((1, self._n_prompts)))

    def share(self, successes: Float[Array, "edit_set prompt"]) -> Estimate:
        """Return the shares of successes (1, else 0) with Wilson's score intervals (1927).

        The bootstrap would give a share of 0 or 1 an interval without width. If groups are drawn, the number of prompts
        is divided by the design effect (Kish 1965): the variance over groups as a multiple of that over prompts.
        """
        share = successes.mean(axis=1)
        if self.n_units < MIN_PROMPTS:
            unknown = np.full_like(share, np.nan)
            return Estimate(share, unknown, unknown)
        return Estimate(share, *wilson_bounds(share, self._n_prompts / self.design_effect(successes)))

    def design_effect(self, values: Float[Array, "edit_set prompt"]) -> Float[Array, "edit_set"]:
        """Return the variance of each mean over groups as a multiple of that over single prompts; at least 1."""
        if self._members is None:
            return np.ones(len(values))
        residuals = values - values.mean(axis=1, keepdims=True)
        alone, grouped = (residuals**2).sum(axis=1), ((residuals @ self._members) ** 2).sum(axis=1)
        effect: Array = np.maximum(1.0, np.divide(grouped, alone, out=np.ones_like(alone), where=alone > 0))
        return effect

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
        return self._ratio(numerator, self._denominator(denominator))

    def _denominator(self, values: Float[Array, "row prompt"]) -> _Denominator:
        return _Denominator(self.by_unit(values), self._weights.T)

    def _ratio(self, numerator: Float[Array, "edit_set prompt"], denominator: _Denominator) -> Estimate:
        numerator = self.by_unit(numerator)
        value = numerator.mean(axis=1) / denominator.whole[:, 0]
        low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
        if self.n_units >= MIN_PROMPTS:
            for first in range(0, len(value), _ROWS_AT_ONCE):
                rows = slice(first, first + _ROWS_AT_ONCE)
                low[rows], high[rows] = self._bounds(numerator[rows], denominator.rows(rows), value[rows])
        return Estimate(value, low, high)

    def resampled_ratio(
        self, numerator: Float[Array, "row prompt"], denominator: Float[Array, "#row prompt"]
    ) -> Float[Array, "row resample"]:
        """Return the ratios of the means in each resample, for statistics that are functions of several ratios.

        They are NaN where the denominator's mean vanishes or has another sign than that of all prompts.
        """
        return np.asarray((self.by_unit(numerator) @ self._weights.T) / self._denominator(denominator).resampled)

    def by_unit(self, values: Float[Array, "row prompt"]) -> Float[Array, "row unit"]:
        """Return the values of prompts, or their sums over groups of prompts."""
        return values if self._members is None else values @ self._members

    def _bounds(
        self, numerator: Float[Array, "row unit"], denominator: _Denominator, value: Float[Array, "row"]
    ) -> tuple[Float[Array, "row"], Float[Array, "row"]]:
        """Return the bounds of ratios of means, from the distribution of (resample's − whole) / standard error."""
        weights, whole, below = self._weights.T, denominator.whole, denominator.resampled
        residuals = numerator - value[:, None] * denominator.values  # their mean is 0
        change = (residuals @ weights) / below  # of the ratio
        spread = (residuals**2) @ weights - 2 * change * ((residuals * denominator.values) @ weights)
        spread += change**2 * denominator.squares  # the mean square of the resample's own residuals
        spread = np.maximum(spread, _MIN_SPREAD * (residuals**2).mean(axis=1, keepdims=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = change / (np.sqrt(spread) / np.abs(below))
        error = np.sqrt((residuals**2).mean(axis=1)) / np.abs(whole[:, 0])
        largest = np.abs(numerator).max(axis=1) / np.abs(whole[:, 0])
        lowest, highest = _quantiles(steps, (0.025, 0.975))
        known = np.isfinite(below).all(axis=1) & (error > _ROUNDING * largest)
        return np.where(known, value - highest * error, np.nan), np.where(known, value - lowest * error, np.nan)


def _quantiles(values: Float[Array, "row resample"], shares: Sequence[float]) -> list[Float[Array, "row"]]:
    """Return what `np.quantile(values, shares, axis=1)` does, to the last bit, in a third of the time for few rows."""
    last = values.shape[1] - 1
    places = [(int(share * last), min(int(share * last) + 1, last), share * last % 1) for share in shares]
    ordered = np.partition(values, sorted({place for below, above, _ in places for place in (below, above)}), axis=1)
    is_unknown = np.isnan(values).any(axis=1)
    quantiles = []
    for below, above, weight in places:
        low, high = ordered[:, below], ordered[:, above]
        with np.errstate(invalid="ignore"):
            step = high - low
            between = low + step * weight if weight < 0.5 else high - step * (1 - weight)
        quantiles.append(np.where(is_unknown, np.nan, between))
    return quantiles
