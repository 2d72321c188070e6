"""Prompts in groups, such as those with one sentence: how much alike the values of a group are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ioi_lab.stats.metrics import Array


def intraclass_correlation(values: Float[Array, "prompt"], groups: Sequence[int]) -> float | None:
    """Return the share of the variance of values that lies between groups: ICC(1) of Shrout & Fleiss 1979.

    Estimated by one-way analysis of variance for groups of unequal sizes (Donner 1986); it is below 0 if the values of
    a group are less alike than those of different groups. None if there are fewer than two groups, if every group has
    one value, or if the values do not vary.
    """
    _, index = np.unique(groups, return_inverse=True)
    sizes = np.bincount(index)
    n, n_groups = len(values), len(sizes)
    if n_groups < 2 or n == n_groups:
        return None
    means = np.bincount(index, weights=values) / sizes
    between = (sizes * (means - values.mean()) ** 2).sum() / (n_groups - 1)
    within = ((values - means[index]) ** 2).sum() / (n - n_groups)
    size = (n - (sizes**2).sum() / n) / (n_groups - 1)  # the groups' size, if they had one
    variance = between + (size - 1) * within
    return float((between - within) / variance) if variance > 0 else None
