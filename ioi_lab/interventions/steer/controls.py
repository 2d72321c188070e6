"""Random directions, which show how much any direction of the same norm moves the model.

At the best site they are steered at every scale. The best site is the steepest of many, which a random direction has at
its own steepest site too: therefore they are steered at all sites, at the scales next to 0, and the steepest site is
compared with the steepest site of each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ioi_lab.interventions.steer.flips import estimates_with_flips
from ioi_lab.interventions.steer.steps import Step, VectorSource
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.stats.responses import initial_slopes, inside_the_others_band, limit_of_maxima, prediction_band
from ioi_lab.steering.methods import random_direction
from ioi_lab.steering.vectors import add_direction

if TYPE_CHECKING:
    from ioi_lab.engine.edits import EditSet
    from ioi_lab.engine.engine import Engine


@dataclass(frozen=True)
class Controls:
    """Random directions of the same norms. Rows go direction by direction, then scale by scale."""

    readout: Readout
    """At the best site."""

    estimates: dict[str, Estimate]
    """Each metric of `results.csv`, and the share of prompts that flip."""

    means: Float[Array, "direction scale"]
    """Mean logit differences at the best site."""

    middle: Float[Array, "scale"]
    """The mean over directions."""

    low: Float[Array, "scale"]
    """The lower end of the band in which a further random direction lies with a probability of 95 % at the best site;
    it does not account for the choice of the site."""

    high: Float[Array, "scale"]
    """The upper end of the band."""

    lowest: Float[Array, "scale"]
    """The lowest mean logit difference of a random direction."""

    highest: Float[Array, "scale"]
    """The highest mean logit difference of a random direction."""

    highest_flipped: Float[Array, "scale"]
    """The largest share of prompts that a random direction flips."""

    share_inside: float
    """The share of random directions, over all scales but 0, that lie in the band of the others."""

    slopes: Float[Array, "direction site"]
    """The slope next to the scale 0 of each direction at each site; 0 at sites without a direction."""

    steepest: Float[Array, "direction"]
    """The largest absolute slope of each direction over the sites."""

    steepest_limit: float
    """What a further random direction exceeds at its steepest site with a probability of about 5 %."""

    def includes(self, logit_diff: float, scale: int) -> bool:
        """Return whether a mean logit difference lies in the band at the scale with this index."""
        return bool(self.low[scale] <= logit_diff <= self.high[scale])


def measure_controls(
    held_out: Engine,
    steps: Sequence[Step],
    best: int,
    source: VectorSource,
    signs: Sequence[int],
    scales: Sequence[float],
    next_to_zero: Sequence[float],
    count: int,
) -> Controls:
    """Steer with random directions instead of those of the steps.

    Args:
        held_out: The engine on the steered prompts.
        steps: The steps of all sites, whose norms the random directions have.
        best: The index of the site at which all scales are measured.
        source: Draws the directions.
        signs: For each prompt, 1 if it is pushed along the direction and −1 if it is pushed against it.
        scales: The scales.
        next_to_zero: The scales at the other sites.
        count: The number of directions.

    """
    others = [site for site, step in enumerate(steps) if site != best and step.norm > 0]
    plan = _random_edits(steps[best], source, signs, scales, count)
    for site in others:
        plan += _random_edits(steps[site], source, signs, next_to_zero, count)
    whole = held_out.run(plan, "clean")
    readout = whole.select(slice(0, count * len(scales)))
    estimates = estimates_with_flips(held_out, readout)
    means = readout.logit_diff.mean(axis=1).reshape(count, len(scales))
    elsewhere = whole.logit_diff[count * len(scales) :].mean(axis=1).reshape(len(others), count, len(next_to_zero))

    unsteered = np.full(count, held_out.baseline("clean").logit_diff.mean())
    slopes = np.zeros((count, len(steps)))
    near = [list(scales).index(scale) for scale in next_to_zero]
    for site, by_direction in zip([best, *others], [means[:, near], *elsewhere], strict=True):
        slopes[:, site] = initial_slopes(next_to_zero, by_direction.T, unsteered)
    steepest = np.abs(slopes).max(axis=1)

    low, high = prediction_band(means)
    moving = [index for index, scale in enumerate(scales) if scale != 0]
    return Controls(
        readout=readout,
        estimates=estimates,
        means=means,
        middle=means.mean(axis=0),
        low=low,
        high=high,
        lowest=means.min(axis=0),
        highest=means.max(axis=0),
        highest_flipped=estimates["flipped"].value.reshape(means.shape).max(axis=0),
        share_inside=float(inside_the_others_band(means)[:, moving].mean()) if moving else 1.0,
        slopes=slopes,
        steepest=steepest,
        steepest_limit=limit_of_maxima(steepest),
    )


def _random_edits(
    step: Step, source: VectorSource, signs: Sequence[int], scales: Sequence[float], count: int
) -> list[EditSet]:
    """Return one edit set per direction and scale."""
    lengths, seed = np.array(signs) * step.norms, source.seeds(step.site)
    plan: list[EditSet] = []
    for index in range(count):
        direction = random_direction(1.0, step.directions.shape[1], [*seed, index])
        plan += add_direction(step.site, np.outer(lengths, direction), scales)
    return plan
