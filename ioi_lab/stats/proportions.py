"""Shares of successes with their intervals."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from ioi_lab.stats.metrics import Array

_Z: Final = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson_bounds(
    share: Float[Array, "row"], n_trials: Float[Array, "#row"] | float
) -> tuple[Float[Array, "row"], Float[Array, "row"]]:
    """Return the bounds of the 95 % score interval of each share of successes in `n_trials` trials (Wilson 1927)."""
    middle = (share + _Z**2 / (2 * n_trials)) / (1 + _Z**2 / n_trials)
    half = _Z / (1 + _Z**2 / n_trials) * np.sqrt(share * (1 - share) / n_trials + _Z**2 / (4 * n_trials**2))
    return np.minimum(middle - half, share), np.maximum(middle + half, share)  # up to rounding, at 0 and 1
