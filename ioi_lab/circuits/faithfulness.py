"""Faithfulness of circuits, from their logit differences, and what sums up a curve of it over sizes.

The faithfulness of a circuit C is f(C) = (m(C) − m(∅)) / (m(G) − m(∅)), where m is the mean logit difference over
prompts with the edges of C, with all edges (G) and with none (∅). CPR is the area under f, and CMD that between f and
1, over the share of edges k (Mueller et al. 2025, arXiv 2504.13151).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from ioi_lab.circuits.graph import Indices
from ioi_lab.errors import LabError
from ioi_lab.stats.bootstrap import MIN_PROMPTS, Bootstrap, Estimate
from ioi_lab.stats.metrics import Array

FAITHFUL: Final = 0.85
"""The faithfulness at which the number of edges is reported."""

_BOUNDS: Final = (0.025, 0.975)


def check_gap(whole: Float[Array, "1 prompt"], empty: Float[Array, "1 prompt"], key: str = "intervention") -> None:
    """Raise a `LabError` unless the mean logit difference with all edges is above that with none."""
    if not whole.mean() > empty.mean():
        raise LabError(
            f"{key}: the mean logit difference is {whole.mean():.3g} with all edges and {empty.mean():.3g} with none, "
            "so faithfulness is not defined; expected a model that does the task, and prompts that show it"
        )


@dataclass(frozen=True)
class Summary:
    """Numbers that sum up a curve of faithfulness f over the share of edges k, each an estimate of one row."""

    cmd: Estimate
    """The area between f and 1 over k: 0 is best. MIB ranks edges by their absolute score for it."""

    cpr: Estimate
    """The area under f over k, which may exceed 1. MIB ranks edges by their signed score for it."""

    cmd_log: Estimate
    """The mean distance of f from 1 over log k, between the least and the greatest size."""

    cpr_log: Estimate
    """The mean of f over log k, between the least and the greatest size."""

    edges: Estimate
    """The number of edges of the smallest circuit measured with f of at least `FAITHFUL`; NaN if there is none."""

    def items(self) -> list[tuple[str, Estimate]]:
        """Return each number with its name."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


@dataclass(frozen=True)
class Curve:
    """The faithfulness of circuits of several sizes, from the smallest to the largest."""

    shares: Float[Array, "size"]
    edges: Int[Indices, "size"]
    faithfulness: Estimate
    summary: Summary

    @classmethod
    def of(
        cls,
        bootstrap: Bootstrap,
        shares: Float[Array, "size"],
        edges: Int[Indices, "size"],
        circuits: Float[Array, "size prompt"],
        whole: Float[Array, "1 prompt"],
        empty: Float[Array, "1 prompt"],
    ) -> Curve:
        """Return the curve, with intervals by the same resamples of prompts throughout.

        Those of f and CPR, which are ratios of means, are studentized; the others are percentiles over resamples.

        Args:
            bootstrap: The bootstrap over the prompts.
            shares: The share of all edges that each circuit was asked to have, k, in any order.
            edges: The number of edges that each circuit has.
            circuits: The logit difference of each prompt with each circuit.
            whole: That with all edges.
            empty: That with none.

        """
        order = np.argsort(shares, kind="stable")
        shares, edges, circuits = shares[order], edges[order], circuits[order]
        gains, gap = circuits - empty, whole - empty
        f = bootstrap.ratio(gains, gap)
        resampled = bootstrap.resampled_ratio(gains, gap) if bootstrap.n_units >= MIN_PROMPTS else None

        def percentiles(statistic: Callable[[Float[Array, "size resample"]], Float[Array, "resample"]]) -> Estimate:
            bounds = np.full(2, np.nan)
            if resampled is not None and np.isfinite(resampled).all():
                bounds = np.quantile(statistic(resampled), _BOUNDS, method="inverted_cdf")
            low, high = bounds if np.isfinite(bounds).all() else (np.nan, np.nan)
            value = statistic(f.value[:, None])
            return Estimate(np.where(np.isfinite(value), value, np.nan), np.array([low]), np.array([high]))

        with np.errstate(divide="ignore"):  # a threshold above all scores keeps no edge
            linear, log = trapezoid(shares), trapezoid(np.log(shares))
        log = log / log.sum() if log.sum() > 0 else np.full(len(log), np.nan)
        summary = Summary(
            cmd=percentiles(lambda curves: linear @ np.abs(1 - curves)),
            cpr=bootstrap.ratio(linear[None] @ gains, gap),
            cmd_log=percentiles(lambda curves: log @ np.abs(1 - curves)),
            cpr_log=bootstrap.ratio(log[None] @ gains, gap),
            edges=percentiles(lambda curves: _least_faithful(curves, edges)),
        )
        return cls(shares, edges, f, summary)


def trapezoid(places: Float[Array, "place"]) -> Float[Array, "place"]:
    """Return the weights with which values at places sum to the area under the line through them; NaN for one place."""
    if len(places) < 2:
        return np.full(len(places), np.nan)
    widths = np.diff(places) / 2
    return np.asarray(np.append(widths, 0.0) + np.append(0.0, widths))


def _least_faithful(curves: Float[Array, "size resample"], edges: Int[Indices, "size"]) -> Float[Array, "resample"]:
    """Return the number of edges of the first circuit that is faithful, in each resample; infinite if none is."""
    faithful = curves >= FAITHFUL
    return np.where(faithful.any(axis=0), edges[faithful.argmax(axis=0)], np.inf)


def band(random: Float[Array, "circuit size"]) -> Estimate:
    """Return the median over random circuits at each size, with the bounds between which 95 % of them lie."""
    low, middle, high = np.quantile(random, (_BOUNDS[0], 0.5, _BOUNDS[1]), axis=0)
    return Estimate(middle, low, high)
