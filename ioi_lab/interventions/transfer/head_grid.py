"""Whether the function of any head comes over: every head of the source in the place of several of the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.interventions.transfer.head_margins import HeadMargins, measure_margins
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, discover
from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.head_controls import HeadControls
from ioi_lab.transfer.head_maps import Head
from ioi_lab.transfer.heads import HeadGrid


@dataclass(frozen=True)
class PairGrid:
    """What each head of the source recovers in the place of each replaced head, beyond that head's own mean.

    Everything is measured on the held-out prompts, but for the choice of `best`.
    """

    replaced: list[Head]
    sources: list[Head]
    own: Estimate
    """The recovery by each replaced head's own clean output, beyond its mean: a row per replaced head."""

    beyond: Float[Array, "replaced source"]
    not_found: Bool[NDArray[np.bool_], "replaced source"] | None
    """Those that are not distinguishable from 0, corrected for all pairs; None without tests."""

    best: list[Head]
    """For each replaced head, the head of the source that recovers most on the training prompts."""

    of_best: Estimate
    """The recovery by it, beyond the mean: a row per replaced head."""

    share_of_best: Estimate
    """The same as a share of that by the head's own clean output."""

    margins: HeadMargins
    """How far its recovery is above that of each control."""

    @property
    def n_above(self) -> int | None:
        """The number of pairs that recover more than the mean, corrected for their number; None without tests."""
        return None if self.not_found is None else int((~self.not_found & (self.beyond > 0)).sum())

    def has_function(self, row: int) -> bool:
        """Return whether there is a function that could come over: the best head has an effect in its own model."""
        return self.best[row] not in self.margins.idle.of_source

    @property
    def come_over(self) -> list[int]:
        """The rows in which the function of the best head comes over, the largest recovery first.

        The replaced head's own clean output is above its mean, and the best head, which has an effect in its own model,
        is above every control, all with the whole interval.
        """
        own = self.own.exceeds()
        rows = [
            row
            for row in range(len(self.replaced))
            if own[row] and self.has_function(row) and not self.margins.not_exceeded(row)
        ]
        return sorted(rows, key=lambda row: -self.of_best.value[row])

    def rank_of_best(self, row: int) -> int:
        """Return the rank of `best` among all heads of the source on the held-out prompts: 1 if it recovers most."""
        values = self.beyond[row]
        return 1 + int((values > values[self.sources.index(self.best[row])]).sum())


def measure_grid(training: HeadGrid, held_out: HeadGrid, controls: HeadControls) -> PairGrid:
    """Evaluate the edits on the training prompts, to choose heads, and on the held-out prompts."""
    on_training = _beyond_mean(training)[2]
    chosen = on_training[:, :, training.unseen or slice(None)].mean(axis=2).argmax(axis=1)
    own, zero, beyond = _beyond_mean(held_out)
    engine, bootstrap = held_out.engine, held_out.engine.bootstrap
    gap = engine.baseline("clean").logit_diff - engine.baseline("corrupted").logit_diff
    best = beyond[np.arange(len(chosen)), chosen]
    heads = [held_out.sources[index] for index in chosen]
    by_head = [dict(zip(held_out.sources, of_place, strict=True)) for of_place in beyond]
    not_found = discover(beyond.reshape(-1, beyond.shape[2]), gap, bootstrap, ROUNDING).not_found
    return PairGrid(
        replaced=list(held_out.replaced),
        sources=list(held_out.sources),
        own=bootstrap.ratio(own, gap),
        beyond=beyond.mean(axis=2) / gap.mean(),
        not_found=None if not_found is None else not_found.reshape(beyond.shape[:2]),
        best=heads,
        of_best=bootstrap.ratio(best, gap),
        share_of_best=bootstrap.ratio(best, own),
        margins=measure_margins(controls, held_out.replaced, heads, by_head, (own, zero), gap),
    )


def _beyond_mean(
    grid: HeadGrid,
) -> tuple[Float[Array, "replaced prompt"], Float[Array, "replaced prompt"], Float[Array, "replaced source prompt"]]:
    """Return what its own output, zeros, and each head of the source add to the logit difference with a head's mean."""
    logit_diff = grid.engine.run(list(grid.edits), "corrupted").logit_diff
    by_head = logit_diff.reshape(len(grid.replaced), 3 + len(grid.sources), -1)
    beyond = by_head - by_head[:, 1:2]
    return beyond[:, 0], beyond[:, 2], beyond[:, 3:]
