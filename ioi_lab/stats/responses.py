"""Responses to a scale: where they are linear, how steep they are there, and how random directions compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from ioi_lab.stats.metrics import Array

ROUNDING: Final = 1e-4
"""Responses that change by at most this much are constant up to floating point."""

LINEAR_R2: Final = 0.98
"""A response is linear over a range of scales if a straight line explains this share of its variance there."""


@dataclass(frozen=True)
class LinearRange:
    """The widest range of scales around 0 over which a response is linear: indices `first` to `last` of its scales.

    If there is none, it is the narrowest range around 0, and `r2` shows how bad the line is. `r2` is NaN for less than
    three scales, which are on a line whatever they are, and for a response that is constant over the range.
    """

    first: int
    last: int
    r2: float

    @property
    def is_linear(self) -> bool:
        """Whether the response is linear over the range; with too few scales to test this, it counts as linear."""
        return not self.r2 < LINEAR_R2

    @property
    def rows(self) -> slice:
        """The indices of the scales in the range."""
        return slice(self.first, self.last + 1)


@dataclass(frozen=True)
class Response:
    """The values of each prompt at ascending scales, of which one is 0, and the line through the linear range."""

    scales: Float[Array, "scale"]
    values: Float[Array, "scale prompt"]

    linear: LinearRange
    """The linear range of the mean over prompts."""

    linear_scales: Float[Array, "scale"]
    """The scales of the linear range, or of the narrowest range around 0 if the response is linear over none."""

    slopes: Float[Array, "prompt"]
    """The slope of each prompt over the linear range, per unit of scale; NaN without a linear range; 0 if only the
    scale 0 was measured."""

    is_monotone: bool
    """Whether the mean rises, or falls, all through the range."""

    @classmethod
    def of(
        cls, scales: Sequence[float], values: Float[Array, "scale prompt"], unsteered: Float[Array, "prompt"]
    ) -> Self:
        """Return the response of `values` at `scales` in any order, with the `unsteered` values at the scale 0."""
        by_scale = dict(zip(scales, values, strict=True)) | {0.0: unsteered}
        ordered = np.array(sorted(by_scale))
        response = np.stack([by_scale[scale] for scale in ordered.tolist()])
        means = response.mean(axis=1)
        linear = linear_range(ordered, means)
        linear_scales = ordered[linear.rows]
        return cls(
            scales=ordered,
            values=response,
            linear=linear,
            linear_scales=linear_scales,
            slopes=slopes(linear_scales, response[linear.rows])
            if linear.is_linear
            else np.full(len(unsteered), np.nan),
            is_monotone=is_monotone(means[linear.rows]),
        )


def linear_range(scales: Float[Array, "scale"], response: Float[Array, "scale"]) -> LinearRange:
    """Return the linear range of a response at ascending scales, of which one is 0.

    Of two ranges of equal width, it is the one with the larger R². A constant response is linear over all scales.
    """
    if np.ptp(response) <= ROUNDING:
        return LinearRange(0, len(scales) - 1, float("nan"))
    zero, count = int(np.flatnonzero(scales == 0)[0]), len(scales)
    ranges = [
        LinearRange(first, last, r_squared(scales[first : last + 1], response[first : last + 1]))
        for first in range(zero + 1)
        for last in range(zero, count)
        if last - first >= min(2, count - 1)
    ]
    linear = [candidate for candidate in ranges if candidate.is_linear]

    def width(candidate: LinearRange) -> float:
        return float(scales[candidate.last] - scales[candidate.first])

    if linear:
        return max(linear, key=lambda candidate: (width(candidate), np.nan_to_num(candidate.r2)))
    return min(ranges, key=lambda candidate: (width(candidate), -candidate.r2))


def r_squared(x: Float[Array, "point"], y: Float[Array, "point"]) -> float:
    """Return the share of the variance of `y` that a least-squares line explains.

    It is NaN for two points and for a constant `y`.
    """
    if len(x) < 3 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def slopes(scales: Float[Array, "scale"], responses: Float[Array, "scale prompt"]) -> Float[Array, "prompt"]:
    """Return the slope of the least-squares line of each prompt's response.

    The slope of the mean response is the mean of these slopes.
    """
    if len(scales) < 2:
        return np.zeros(responses.shape[1])
    centred = scales - scales.mean()
    steepness: Array = centred @ responses / (centred @ centred)
    return steepness


def scales_next_to_zero(scales: Sequence[float]) -> list[float]:
    """Return the scales next to 0: the largest below and the smallest above, those of them that there are."""
    below, above = [scale for scale in scales if scale < 0], [scale for scale in scales if scale > 0]
    return [*sorted(below)[-1:], *sorted(above)[:1]]


def initial_slopes(
    next_to_zero: Sequence[float], values: Float[Array, "scale prompt"], unsteered: Float[Array, "prompt"]
) -> Float[Array, "prompt"]:
    """Return the slope of each prompt's response through the scale 0 and the scales next to it.

    It exists for every response, and for all of them over the same scales, so that the slopes can be compared.

    Args:
        next_to_zero: See `scales_next_to_zero`.
        values: The values at these scales.
        unsteered: The values at the scale 0.

    """
    return slopes(np.array([0.0, *next_to_zero]), np.concatenate([unsteered[None], values]))


def is_monotone(response: Float[Array, "scale"]) -> bool:
    """Return whether a response rises, or falls, from each scale to the next."""
    steps = np.diff(response)
    return bool((steps > 0).all() or (steps < 0).all())


def prediction_band(samples: Float[Array, "sample scale"]) -> tuple[Float[Array, "scale"], Float[Array, "scale"]]:
    """Return the bounds between which a further sample lies with a probability of 95 %, by scale.

    It is the prediction interval of a normal variable (Student's t).
    """
    count = len(samples)
    middle, spread = samples.mean(axis=0), samples.std(axis=0, ddof=1)
    half = stdtrit(count - 1, 0.975) * spread * np.sqrt(1 + 1 / count)
    return middle - half, middle + half


def limit_of_maxima(maxima: Float[Array, "sample"]) -> float:
    """Return what a further maximum of absolute values exceeds with a probability of about 5 %.

    It is the one-sided prediction limit of a normal variable (Student's t) for the square roots of the maxima: they are
    closer to normal than the maxima, which are skewed. With 5 to 19 maxima over 1 to 270 normal variables of equal or
    very different variances, the probability is 4.6 to 7.7 % in simulations, and 4.6 to 6.5 % with 10 maxima over up to
    30 variables.
    """
    count, roots = len(maxima), np.sqrt(maxima)
    limit = roots.mean() + stdtrit(count - 1, 0.95) * roots.std(ddof=1) * np.sqrt(1 + 1 / count)
    return float(limit**2)


def inside_the_others_band(samples: Float[Array, "sample scale"]) -> Float[Array, "sample scale"]:
    """Return 1 for each sample that lies in the band of all the others, else 0; by chance, 0.95 on average."""
    inside = np.empty(samples.shape)
    for index, sample in enumerate(samples):
        low, high = prediction_band(np.delete(samples, index, axis=0))
        inside[index] = (low <= sample) & (sample <= high)
    return inside
