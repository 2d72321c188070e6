"""The control of an edited set of heads: random sets of as many heads, edited by the same route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

FILE: Final = "random_sets.csv"


@dataclass(frozen=True)
class RandomSets:
    """Random sets of heads next to the set that was chosen.

    The chosen set and the random ones are exchangeable if the heads were chosen without regard to their effects. The
    p-value is then that of a permutation test.
    """

    are_kept: bool
    """Whether all heads but the set are edited (`sets: except`), instead of the set."""

    labels: Sequence[str]
    """The heads of each random set."""

    estimates: Mapping[str, Estimate]
    """The metrics of `results.csv` of each of them."""

    of: Sequence[int]
    """The row of the results that each is compared with."""

    distance: Float[Array, "set"]
    """How far the mean logit difference is from that of the unedited pass."""

    chosen: Float[Array, "row"]
    """The same of each row of the results."""

    def compared_with(self, row: int) -> list[int]:
        """Return the random sets that a row is compared with."""
        return [index for index, of in enumerate(self.of) if of == row]

    def n_as_good(self, row: int) -> int:
        """Return how many random sets do at least as well as the chosen one.

        They take the logit difference at least as far from that of the unedited pass; or, if sets are kept, leave it at
        least as near.
        """
        random, chosen = self.distance[self.compared_with(row)], self.chosen[row]
        return int((random <= chosen).sum() if self.are_kept else (random >= chosen).sum())

    def p_value(self, row: int) -> float:
        """Return (1 + the number of sets that do as well) / (1 + the number of sets)."""
        return (1 + self.n_as_good(row)) / (1 + len(self.compared_with(row)))

    def logit_diffs(self, row: int) -> Float[Array, "set"]:
        """Return the mean logit difference with each random set that a row is compared with."""
        values: Array = self.estimates["logit_diff"].value[self.compared_with(row)]
        return values

    def metrics(self, row: int) -> dict[str, float]:
        """Return the scalars of a row's comparison."""
        values = self.logit_diffs(row)
        if not len(values):
            return {}
        return {
            "n_random_sets": len(values),
            "n_random_sets_as_good": self.n_as_good(row),
            "random_sets_p": self.p_value(row),
            "random_sets_logit_diff_median": float(np.median(values)),
        }
