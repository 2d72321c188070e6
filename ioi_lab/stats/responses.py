"""Responses to a scale: where they are linear, how steep they are there, and what random directions would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from jaxtyping import Float
from scipy import stats

from ioi_lab.stats.metrics import Array

LINEAR_R2: Final = 0.98
"""A range of scales is linear as far as a straight line explains this share of the variance in it."""


@dataclass(frozen=True)
class LinearRange:
    """The widest range of scales around 0 over which a response is linear: indices `first` to `last` of its scales.

    Where no three scales give a line, it is the narrowest range around 0, and `r2` says how bad the line is; it is NaN
    for less than three scales and for a response that does not change.
    """

    first: int
    last: int
    r2: float

    @property
    def rows(self) -> slice:
        """Of the scales, those in the range."""
        return slice(self.first, self.last + 1)


@dataclass(frozen=True)
class Response:
    """What was measured at ascending scales, of which one is 0, and the line through it over its linear range."""

    scales: Float[Array, "scale"]
    values: Float[Array, "scale prompt"]
    linear: LinearRange

    @classmethod
    def of(
        cls, scales: Sequence[float], values: Float[Array, "scale prompt"], unsteered: Float[Array, "prompt"]
    ) -> Self:
        """Put in order, with the unsteered values at 0."""
        by_scale = dict(zip(scales, values, strict=True)) | {0.0: unsteered}
        ordered = np.array(sorted(by_scale))
        response = np.stack([by_scale[scale] for scale in ordered.tolist()])
        return cls(ordered, response, linear_range(ordered, response.mean(axis=1)))

    @property
    def linear_scales(self) -> Float[Array, "scale"]:
        """Those of the linear range."""
        return self.scales[self.linear.rows]

    @property
    def slopes(self) -> Float[Array, "prompt"]:
        """Each prompt's slope over the linear range; 0 where nothing but 0 was measured."""
        return slopes(self.linear_scales, self.values[self.linear.rows])

    @property
    def is_monotone(self) -> bool:
        """Whether the mean rises, or falls, all through the linear range."""
        return is_monotone(self.values[self.linear.rows].mean(axis=1))


def linear_range(scales: Float[Array, "scale"], response: Float[Array, "scale"]) -> LinearRange:
    """The linear range of a response at ascending scales, of which one is 0.

    Of ranges of equal width, the one with the larger R².
    """
    zero, count = int(np.flatnonzero(scales == 0)[0]), len(scales)
    ranges = [
        LinearRange(first, last, r_squared(scales[first : last + 1], response[first : last + 1]))
        for first in range(zero + 1)
        for last in range(zero, count)
        if last - first >= min(2, count - 1)
    ]
    linear = [found for found in ranges if found.r2 >= LINEAR_R2]

    def width(found: LinearRange) -> float:
        return float(scales[found.last] - scales[found.first])

    if linear:
        return max(linear, key=lambda found: (width(found), found.r2))
    return min(ranges, key=lambda found: (width(found), -np.nan_to_num(found.r2)))


def r_squared(x: Float[Array, "point"], y: Float[Array, "point"]) -> float:
    """The share of the variance of `y` that a least-squares line explains; NaN for two points or constant `y`."""
    if len(x) < 3 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def slopes(scales: Float[Array, "scale"], responses: Float[Array, "scale prompt"]) -> Float[Array, "prompt"]:
    """The slope of the least-squares line of each prompt's response; the slope of the mean is the mean of these."""
    if len(scales) < 2:
        return np.zeros(responses.shape[1])
    centred = scales - scales.mean()
    steepness: Array = centred @ responses / (centred @ centred)
    return steepness


def is_monotone(response: Float[Array, "scale"]) -> bool:
    """Whether a response rises, or falls, from each scale to the next."""
    steps = np.diff(response)
    return bool((steps > 0).all() or (steps < 0).all())


def prediction_band(samples: Float[Array, "sample scale"]) -> tuple[Float[Array, "scale"], Float[Array, "scale"]]:
    """Where a further sample lies with 95 %: the prediction interval of a normal variable (Student's t), by scale."""
    count = len(samples)
    middle, spread = samples.mean(axis=0), samples.std(axis=0, ddof=1)
    half = stats.t.ppf(0.975, count - 1) * spread * np.sqrt(1 + 1 / count)
    return middle - half, middle + half


def inside_the_others_band(samples: Float[Array, "sample scale"]) -> Float[Array, "sample scale"]:
    """1 where a sample lies in the band that all the others give, 0 where it does not; 0.95 on average by chance."""
    inside = np.empty(samples.shape)
    for index, sample in enumerate(samples):
        low, high = prediction_band(np.delete(samples, index, axis=0))
        inside[index] = (low <= sample) & (sample <= high)
    return inside
