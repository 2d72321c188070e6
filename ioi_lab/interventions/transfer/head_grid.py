"""Whether the output of any head comes over: every head of the source in the place of several heads of the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, discover
from ioi_lab.stats.metrics import Array
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

    above_others: Estimate
    """The recovery by it less the mean of all other heads of the source in the same place."""

    @property
    def n_above(self) -> int | None:
        """The number of pairs that recover more than the mean, corrected for their number; None without tests."""
        return None if self.not_found is None else int((~self.not_found & (self.beyond > 0)).sum())

    def rank_of_best(self, row: int) -> int:
        """Return the rank of `best` among all heads of the source on the held-out prompts: 1 if it recovers most."""
        values = self.beyond[row]
        return 1 + int((values > values[self.sources.index(self.best[row])]).sum())


def measure_grid(training: HeadGrid, held_out: HeadGrid) -> PairGrid:
    """Evaluate the edits on the training prompts, to choose heads, and on the held-out prompts."""
    chosen = _beyond_mean(training)[1].mean(axis=2).argmax(axis=1)
    own, beyond = _beyond_mean(held_out)
    engine, bootstrap = held_out.engine, held_out.engine.bootstrap
    gap = engine.baseline("clean").logit_diff - engine.baseline("corrupted").logit_diff
    rows = np.arange(len(chosen))
    best = beyond[rows, chosen]
    n_others = beyond.shape[1] - 1
    others = (beyond.sum(axis=1) - best) / n_others if n_others else np.zeros_like(best)
    not_found = discover(beyond.reshape(-1, beyond.shape[2]), gap, bootstrap, ROUNDING).not_found
    return PairGrid(
        replaced=list(held_out.replaced),
        sources=list(held_out.sources),
        own=bootstrap.ratio(own, gap),
        beyond=beyond.mean(axis=2) / gap.mean(),
        not_found=None if not_found is None else not_found.reshape(beyond.shape[:2]),
        best=[held_out.sources[index] for index in chosen],
        of_best=bootstrap.ratio(best, gap),
        share_of_best=bootstrap.ratio(best, own),
        above_others=bootstrap.ratio(best - others, gap),
    )


def _beyond_mean(
    grid: HeadGrid,
) -> tuple[Float[Array, "replaced prompt"], Float[Array, "replaced source prompt"]]:
    """Return what a head's own output, and each head of the source, adds to the logit difference with its mean."""
    logit_diff = grid.engine.run(list(grid.edits), "corrupted").logit_diff
    by_head = logit_diff.reshape(len(grid.replaced), 2 + len(grid.sources), -1)
    return by_head[:, 0] - by_head[:, 1], by_head[:, 2:] - by_head[:, 1:2]
