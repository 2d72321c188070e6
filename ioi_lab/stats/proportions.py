"""Shares of successes with their intervals."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

_Z: Final = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson(successes: Float[Array, "row trial"]) -> Estimate:
    """Return the share of successes (1, else 0) of each row with its 95 % score interval (Wilson 1927)."""
    n = successes.shape[1]
    share = successes.mean(axis=1)
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Estimate(share, middle - half, middle + half)
