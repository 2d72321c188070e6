"""Which of many effects are more than chance: paired tests over prompts, corrected for the number of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.stats.bootstrap import MIN_PROMPTS, Bootstrap, Estimate
from ioi_lab.stats.metrics import Array

FALSE_DISCOVERY_RATE: Final = 0.05
"""The expected share, of the effects that are found, of those that are not there (Benjamini & Hochberg 1995)."""

ROUNDING: Final = 1e-4
"""What floating point may add to a logit difference."""


@dataclass(frozen=True)
class HeldOutTop:
    """The largest effect on half of the prompts, estimated on the other half, which did not select it."""

    row: int
    effect: Estimate


@dataclass(frozen=True)
class Discoveries:
    """Tests of many effects, a row per effect."""

    p_value: Float[Array, "row"]
    """Two-sided, of each effect by itself; NaN with fewer than `MIN_PROMPTS` prompts (or groups of prompts)."""

    p_adjusted: Float[Array, "row"]
    """Adjusted for the number of rows by Benjamini & Hochberg's procedure."""

    found: Bool[NDArray[np.bool_], "row"]
    """Whether each effect survives the correction at `FALSE_DISCOVERY_RATE`, and is more than rounding."""

    held_out: HeldOutTop | None
    """None with fewer than `MIN_PROMPTS` prompts (or groups) in each half."""

    @property
    def not_found(self) -> Bool[NDArray[np.bool_], "row"] | None:
        """The effects that are not found; None if there were too few prompts for tests."""
        return ~self.found if self.is_known else None

    @property
    def is_known(self) -> bool:
        """Whether there were enough prompts for tests."""
        return bool(np.isfinite(self.p_value).any())


def discover(
    changes: Float[Array, "row prompt"], gap: Float[Array, "1 prompt"], bootstrap: Bootstrap, rounding: float
) -> Discoveries:
    """Test whether each mean change over prompts differs from 0, by Student's t over prompts (or groups of prompts).

    Args:
        changes: The change of each prompt by each edit.
        gap: The effect of an edit is the ratio of its mean change to the mean gap.
        bootstrap: Its units are what the tests are taken over.
        rounding: Mean changes up to this size may be due to floating point, and are never found.

    """
    p_value = _p_values(bootstrap.by_unit(changes))
    p_adjusted = adjusted(p_value) if np.isfinite(p_value).all() else np.full_like(p_value, np.nan)
    is_more = np.abs(changes.mean(axis=1)) > rounding
    found = is_more & (np.nan_to_num(p_adjusted, nan=1.0) < FALSE_DISCOVERY_RATE)
    return Discoveries(p_value, p_adjusted, found, _held_out_top(changes, gap, bootstrap))


def adjusted(p_value: Float[Array, "row"]) -> Float[Array, "row"]:
    """Return the p-values adjusted for their number (Benjamini & Hochberg 1995)."""
    from_largest = np.argsort(p_value)[::-1]
    scaled = p_value[from_largest] * (len(p_value) / np.arange(len(p_value), 0, -1))
    p_adjusted: Array = np.empty_like(p_value)
    p_adjusted[from_largest] = np.minimum(np.minimum.accumulate(scaled), 1)
    return p_adjusted


def _p_values(changes: Float[Array, "row unit"]) -> Float[Array, "row"]:
    """Return the p-value of each mean; 1 if nothing changes, 0 if everything changes alike."""
    from scipy.special import stdtr  # `scipy.stats` would take half a second more, and its `t.sf` calls this

    n_units = changes.shape[1]
    if n_units < MIN_PROMPTS:
        return np.full(len(changes), np.nan)
    mean, error = changes.mean(axis=1), changes.std(axis=1, ddof=1) / np.sqrt(n_units)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(np.abs(mean) / error, posinf=np.inf)  # 0 / 0: no change
    p_value: Array = 2 * stdtr(n_units - 1, -t)
    return p_value


def _held_out_top(
    changes: Float[Array, "row prompt"], gap: Float[Array, "1 prompt"], bootstrap: Bootstrap
) -> HeldOutTop | None:
    if bootstrap.n_units - bootstrap.n_units // 2 < MIN_PROMPTS:
        return None
    selecting, other = bootstrap.halves()
    on_other = bootstrap.among(other)
    row = int(np.abs(changes[:, selecting].mean(axis=1)).argmax())
    return HeldOutTop(row, on_other.ratio(changes[[row]][:, other], gap[:, other]))
