"""Readouts of edited runs → logit difference, recovery, probabilities, KL, with bootstrap intervals over prompts.

All arrays are `[edit_set, prompt]`; all logits and probabilities are at END. Nothing here knows of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_PROMPTS: Final = 8
"""A percentile bootstrap over fewer prompts covers far less than 95 %, so none is given."""


@dataclass(frozen=True)
class Readout:
    """What is read from each edited run; None for what was not read. KL is KL(base ‖ edited) in nats.

    `logit_diff` is logit(answer) − logit(distractor).
    """

    logit_diff: Float[Array, "edit_set prompt"]
    answer_logit: Float[Array, "edit_set prompt"] | None = None
    distractor_logit: Float[Array, "edit_set prompt"] | None = None
    p_answer: Float[Array, "edit_set prompt"] | None = None
    p_distractor: Float[Array, "edit_set prompt"] | None = None
    kl: Float[Array, "edit_set prompt"] | None = None

    @classmethod
    def empty(cls, n_edit_sets: int, n_prompts: int, *, probabilities: bool = True) -> Self:
        """A readout to be filled, NaN where it has not been; with p_answer, p_distractor and kl, or without."""
        names = [field.name for field in fields(cls)][: None if probabilities else 3]
        return cls(**{name: np.full((n_edit_sets, n_prompts), np.nan) for name in names})

    def write(self, where: tuple[Any, ...], **values: Array) -> None:
        """Fill in a part, given by an index, of what is read."""
        for name, value in values.items():
            getattr(self, name)[where] = value

    @property
    def correct(self) -> Float[Array, "edit_set prompt"]:
        """1 where the answer's logit is above the distractor's, else 0; its mean is the accuracy."""
        return (self.logit_diff > 0).astype(np.float64)

    @property
    def largest_logit(self) -> float:
        """The largest size of a logit that was read, by which rounding is measured."""
        pair = (self.answer_logit, self.distractor_logit)
        return max((float(np.abs(logits).max()) for logits in pair if logits is not None), default=0.0)

    def is_finite(self) -> bool:
        """Whether every value has been filled with a finite number."""
        return not self.not_finite().any()

    def not_finite(self) -> NDArray[np.bool_]:
        """Where some value is not a finite number: `[edit_set, prompt]`."""
        bad: NDArray[np.bool_] = np.logical_or.reduce([~np.isfinite(values) for values in self._arrays().values()])
        return bad

    def select(self, rows: slice | Sequence[int]) -> Self:
        """Some of the edit sets."""
        return type(self)(**{name: values[rows] for name, values in self._arrays().items()})

    def _arrays(self) -> dict[str, Array]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in arrays.items() if values is not None}


@dataclass(frozen=True)
class Estimate:
    """Means over prompts with the bounds of their 95 % bootstrap intervals, NaN where they are unknown.

    Unknown are those of fewer than `FEWEST_PROMPTS` prompts, and of a recovery whose gap vanishes or turns in some
    resample.
    """

    value: Float[Array, "edit_set"]
    low: Float[Array, "edit_set"]
    high: Float[Array, "edit_set"]

    @classmethod
    def joined(cls, estimates: Sequence[Estimate]) -> Self:
        """The rows of several estimates, one after another."""
        return cls(*(np.concatenate([getattr(each, name) for each in estimates]) for name in ("value", "low", "high")))

    @property
    def has_bounds(self) -> bool:
        """Whether the intervals are known."""
        return bool(np.isfinite(self.low).all())

    def rows(self, rows: slice) -> Estimate:
        """Some of the rows."""
        return Estimate(self.value[rows], self.low[rows], self.high[rows])

    def minus(self, constant: float) -> Estimate:
        """The estimate of the statistic less a constant."""
        return Estimate(self.value - constant, self.low - constant, self.high - constant)


class Bootstrap:
    """Percentile bootstrap over prompts (Efron 1979): the same resamples for every statistic, from `seed`."""

    def __init__(self, n_prompts: int, seed: int, resamples: int = 1000) -> None:
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=resamples)
        self._weights = counts / n_prompts  # [resample, prompt]
        self._seed = seed

    def over(self, n_prompts: int) -> Bootstrap:
        """From the same seed, over another number of prompts."""
        return Bootstrap(n_prompts, self._seed, len(self._weights))

    def mean(self, values: Float[Array, "edit_set prompt"]) -> Estimate:
        """The mean over prompts."""
        return self._estimate(values.mean(axis=1), values @ self._weights.T)

    def recovery(
        self,
        edited: Float[Array, "edit_set prompt"],
        clean: Float[Array, "1 prompt"],
        corrupted: Float[Array, "1 prompt"],
    ) -> Estimate:
        """(edited − corrupted) / (clean − corrupted) of the mean logit differences: 0 = corrupted, 1 = clean.

        A ratio of means (as in TransformerLens' IOI metric), so that no single prompt with a small gap dominates.
        """
        return self.ratio(edited - corrupted, clean - corrupted)

    def ratio(
        self, numerator: Float[Array, "edit_set prompt"], denominator: Float[Array, "#edit_set prompt"]
    ) -> Estimate:
        """The ratio of the means; unknown bounds where the denominator's mean vanishes or turns in some resample."""
        whole, parts = denominator.mean(axis=1), denominator @ self._weights.T
        parts = np.where(parts * whole[:, None] > 0, parts, np.nan)
        return self._estimate(numerator.mean(axis=1) / whole, (numerator @ self._weights.T) / parts)

    def _estimate(self, value: Array, samples: Float[Array, "edit_set resample"]) -> Estimate:
        low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
        if self._weights.shape[1] >= FEWEST_PROMPTS:
            known = np.isfinite(samples).all(axis=1)
            low[known], high[known] = np.quantile(samples[known], (0.025, 0.975), axis=1)
        return Estimate(value, low, high)
