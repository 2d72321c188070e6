"""Pearson's correlation over prompts, with intervals."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from ioi_lab.stats.bootstrap import MIN_PROMPTS, Bootstrap, Estimate
from ioi_lab.stats.metrics import Array

_CONSTANT: Final = 1e-12
"""Values whose variance is below this share of their mean square do not vary."""

_MIN_SPREAD: Final = 0.05
"""The least variance of a resample's correlation, as a share of that of all prompts: as in `Bootstrap`."""


def correlations(one: Float[Array, "row prompt"], other: Float[Array, "prompt"]) -> Float[Array, "row"]:
    """Return the correlation over prompts of each row with other values; NaN if one of them does not vary."""
    n_prompts = one.shape[1]
    return np.array([_moments(row, other, np.full((1, n_prompts), 1 / n_prompts))[0][0] for row in one])


def correlation(one: Float[Array, "prompt"], other: Float[Array, "prompt"], bootstrap: Bootstrap) -> Estimate:
    """Return the correlation over prompts with its interval; the bounds are NaN for fewer than `MIN_PROMPTS` prompts.

    The bootstrap is studentized on Fisher's scale, atanh r, on which the spread hardly depends on r. Standard errors
    are those of the correlation's influence function (Efron & Tibshirani 1993, chapters 10 and 12).
    """
    n_prompts = len(one)
    value, spread = (each[0] for each in _moments(one, other, np.full((1, n_prompts), 1 / n_prompts)))
    is_exact = not np.isfinite(value) or abs(value) > 1 - _CONSTANT
    if is_exact or n_prompts < MIN_PROMPTS:
        return Estimate(*(np.array([each]) for each in (value, np.nan, np.nan)))
    resampled, spreads = _moments(one, other, bootstrap.prompt_weights)
    known = np.isfinite(resampled) & (np.abs(resampled) < 1 - _CONSTANT)
    steps = (np.arctanh(resampled[known]) - np.arctanh(value)) / np.maximum(spreads[known], _MIN_SPREAD**0.5 * spread)
    lowest, highest = np.quantile(steps, (0.025, 0.975))
    low, high = (np.tanh(np.arctanh(value) - step * spread) for step in (highest, lowest))
    return Estimate(*(np.array([each]) for each in (value, low, high)))


def _moments(
    x: Float[Array, "prompt"], y: Float[Array, "prompt"], weights: Float[Array, "resample prompt"]
) -> tuple[Float[Array, "resample"], Float[Array, "resample"]]:
    """Return the correlation in each resample, and the root mean square of its influence function on Fisher's scale."""
    x_apart, y_apart = (values - (weights @ values)[:, None] for values in (x, y))
    x_variance, y_variance = ((weights * apart**2).sum(axis=1) for apart in (x_apart, y_apart))
    varies = (x_variance > _CONSTANT * np.square(x).mean()) & (y_variance > _CONSTANT * np.square(y).mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = x_apart / np.sqrt(x_variance)[:, None], y_apart / np.sqrt(y_variance)[:, None]
        r = np.where(varies, (weights * a * b).sum(axis=1), np.nan)
        influence = a * b - r[:, None] * (a**2 + b**2) / 2
        spread = np.sqrt((weights * influence**2).sum(axis=1)) / (1 - r**2)
    return r, spread
