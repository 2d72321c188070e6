"""Whether other prompts would give the same circuit: the search again on resampled prompts (Méloux et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from ioi_lab.circuits.comparison import jaccard
from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.selection import pruned
from ioi_lab.circuits.validity.evaluation import Outcome
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.stats.metrics import Array

BAR: Final = 0.8
"""The mean pairwise Jaccard index from which a circuit is said to be stable (Méloux et al. 2025, arXiv 2510.00845)."""

Search = Callable[[Float[Array, "edge"]], Bool[Flags, "edge"]]
"""Returns the circuit of the size in question by the scores of all edges."""


@dataclass(frozen=True)
class Stability:
    """The circuits that are found on resamples of the prompts."""

    pairwise: Float[Array, "pair"]
    """The Jaccard index of each two of them."""

    with_circuit: Float[Array, "resample"]
    """That of each with the circuit in question."""

    random: float
    """The mean pairwise index of circuits by random scores, from the same search."""

    inclusion: Float[Array, "edge"]
    """The share of the resamples in whose circuit each edge is."""

    @property
    def mean(self) -> float:
        """The mean pairwise Jaccard index."""
        return float(self.pairwise.mean())

    @property
    def outcome(self) -> Outcome:
        """By the bar of the literature."""
        return "holds" if self.mean >= BAR else "fails"


def stability(
    bootstrap: Bootstrap,
    graph: Graph,
    circuit: Bool[Flags, "edge"],
    scores: Float[Array, "prompt edge"],
    search: Search,
    count: int,
    seed: int,
) -> Stability:
    """Search again on resamples of the prompts, whose scores are averaged anew.

    Args:
        bootstrap: Its units are what is drawn: prompts, or groups of them.
        graph: The graph.
        circuit: The circuit in question.
        scores: The scores of all edges in each prompt.
        search: Finds the circuit of the size in question.
        count: The number of resamples.
        seed: Draws them, and random scores.

    """
    rng = np.random.default_rng(seed)
    totals, sizes = bootstrap.by_unit(scores.T), bootstrap.by_unit(np.ones((1, len(scores))))
    n_units = totals.shape[1]
    found = np.zeros((count, graph.n_edges), dtype=bool)
    for row in range(count):
        weights = rng.multinomial(n_units, np.full(n_units, 1 / n_units)).astype(np.float64)
        found[row] = pruned(graph, search(totals @ weights / (sizes @ weights)))
    random = np.stack([search(rng.standard_normal(graph.n_edges)) for _ in range(count)])  # pruned ones may be empty
    return Stability(
        _pairs(found), jaccard(np.stack([circuit, *found]))[0, 1:], float(_pairs(random).mean()), found.mean(axis=0)
    )


def _pairs(circuits: Bool[Flags, "circuit edge"]) -> Float[Array, "pair"]:
    """Return the Jaccard index of each two circuits; 1 for two without edges, which are the same."""
    first, second = np.triu_indices(len(circuits), k=1)
    return np.nan_to_num(jaccard(circuits)[first, second], nan=1.0)
