"""Whether each edge of a circuit matters more than an edge that is added to it at random.

As in Shi et al. 2024 (arXiv 2410.13032): the circuit is inflated by a random path from the input to the logits, and one
of the path's new edges is left out again. What that changes is what an edge changes that is not part of the circuit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from ioi_lab.circuits.graph import Flags, Indices
from ioi_lab.circuits.random_paths import RandomPaths
from ioi_lab.circuits.validity.evaluation import LEVEL, Evaluation, Outcome
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array


@dataclass(frozen=True)
class Minimality:
    """What the edges of a circuit change, next to edges added at random."""

    edges: Int[Indices, "tested"]
    """The edges that were tested, those with the weakest scores first."""

    n_edges: int
    """The number of edges of the circuit."""

    changes: Estimate
    """f(C) − f(C∖e) of each tested edge e."""

    added: Float[Array, "added"]
    """f(C∪P) − f(C∪P∖e) of each edge e of a random path P; none if the circuit has all edges."""

    p_value: Float[Array, "tested"]
    """That an added edge changes f as much, multiplied by the number of tested edges (Bonferroni), at most 1."""

    @property
    def needed(self) -> Bool[NDArray[np.bool_], "tested"]:
        """Which of the tested edges change f by more than edges added at random."""
        return np.asarray(self.p_value < LEVEL)

    @property
    def idle(self) -> Bool[NDArray[np.bool_], "tested"]:
        """Which of them change it by no more than half of the edges added at random."""
        return np.asarray(np.abs(self.changes.value) <= np.median(np.abs(self.added)))

    @property
    def n_wanted(self) -> int:
        """The least number of added edges with which an edge can reach `LEVEL`, given how many are tested."""
        return int(np.ceil(len(self.edges) / LEVEL))

    @property
    def outcome(self) -> Outcome:
        """Against the claim if some edge is idle; for it only if every edge of the circuit was tested."""
        if not len(self.added):
            return "not testable"
        if self.needed.all() and len(self.edges) == self.n_edges:
            return "holds"
        return "fails" if self.idle.any() else "not shown"


def minimality(
    evaluation: Evaluation,
    circuit: Bool[Flags, "edge"],
    scores: Float[Array, "edge"] | None,
    most: int,
    n_added: int,
    seed: int,
) -> Minimality:
    """Test the edges of a circuit.

    Args:
        evaluation: Runs circuits.
        circuit: The circuit C.
        scores: The scores of all edges: those with the smallest absolute score are tested. None tests random ones.
        most: The number of edges that are tested at most.
        n_added: The number of random paths that are added, one at a time.
        seed: Draws them.

    """
    rng = np.random.default_rng(seed)
    inside = np.flatnonzero(circuit)
    order = rng.permutation(len(inside)) if scores is None else np.argsort(np.abs(scores[inside]), kind="stable")
    edges = inside[order[:most]]
    inflated, reduced = _inflated(evaluation, circuit, n_added, seed, rng)
    smaller = np.tile(circuit, (1 + len(edges), 1))
    smaller[1 + np.arange(len(edges)), edges] = False
    values = evaluation.logit_diffs(np.concatenate([smaller, inflated, reduced]))
    f = evaluation.points(values)
    with_edge = f[0] - f[1 : 1 + len(edges)]
    of_inflated, of_reduced = f[1 + len(edges) :].reshape(2, -1)
    with_added = of_inflated - of_reduced
    as_large = (np.abs(with_added)[None] >= np.abs(with_edge)[:, None]).sum(axis=1)
    p_value = np.minimum(1, len(edges) * (1 + as_large) / (1 + len(with_added)))
    changes = evaluation.changes(values[:1] - values[1 : 1 + len(edges)])
    return Minimality(edges, len(inside), changes, with_added, p_value)


def _inflated(
    evaluation: Evaluation, circuit: Bool[Flags, "edge"], count: int, seed: int, rng: np.random.Generator
) -> tuple[Bool[Flags, "count edge"], Bool[Flags, "count edge"]]:
    """Return the circuit with a random path each, and the same without one of the path's new edges."""
    count = 0 if circuit.all() else count
    inflated = np.tile(circuit, (count, 1))
    reduced, paths = inflated.copy(), RandomPaths(evaluation.graph, seed)
    for row in range(count):
        new: list[int] = []
        while not new:
            new = [edge for edge in paths.path() if not circuit[edge]]
        inflated[row, new] = True
        reduced[row] = inflated[row]
        reduced[row, rng.choice(new)] = False
    return inflated, reduced
