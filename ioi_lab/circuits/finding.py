"""Finding circuits of one or several sizes: by the scores of edges, or by ACDC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from ioi_lab.circuits.acdc import acdc
from ioi_lab.circuits.checkpoints import NO_CHECKPOINTS, Checkpoint, Checkpoints
from ioi_lab.circuits.edge_gradients import Objective
from ioi_lab.circuits.graph import Flags, Graph, Indices
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.selection import (
    Nodes,
    Ranking,
    edge_counts,
    mib_sizes,
    pruned,
    steps_of,
    threshold,
)
from ioi_lab.stats.metrics import Array

Search = Literal["topn", "greedy", "threshold", "acdc"]


@dataclass(frozen=True)
class SearchSettings:
    """How circuits are chosen."""

    search: Search = "topn"
    """The best edges; greedily from the logits upwards; all edges with a score of at least `threshold`; or ACDC."""

    ranking: Ranking = "absolute"
    nodes: Nodes = "edges"
    """Whether edges or whole heads and MLPs are chosen, by `topn`."""

    sizes: Sequence[float] | None = None
    """Shares of all edges, or numbers of edges; None for MIB's."""

    threshold: float | None = None
    tau: float | None = None
    """The largest fall of the objective at which ACDC leaves an edge out."""

    objective: Objective = "kl"
    """What ACDC keeps."""

    orders: int = 3
    """The number of random orders in which ACDC tries edges."""

    seed: int = 0
    varied: Bool[Flags, "edge"] | None = None
    """The edges that circuits may differ in; None for all."""

    def n_varied(self, graph: Graph) -> int:
        """Return the number of edges that circuits may differ in, of which sizes are shares."""
        return graph.n_edges if self.varied is None else int(self.varied.sum())


@dataclass(frozen=True)
class Found:
    """Circuits of several sizes, pruned to what connects the input to the logits."""

    asked: Int[Indices, "size"]
    """The number of edges before pruning."""

    circuits: Bool[Flags, "size edge"]

    @classmethod
    def of(cls, graph: Graph, circuits: Bool[Flags, "size edge"], asked: Sequence[int] | None = None) -> Self:
        """Return circuits after pruning; without numbers that were asked for, those before pruning count as such."""
        counts = circuits.sum(axis=1) if asked is None else np.array(asked)
        return cls(counts.astype(np.int64), np.stack([pruned(graph, circuit) for circuit in circuits]))

    @property
    def kept(self) -> Int[Indices, "size"]:
        """The number of edges of each circuit."""
        kept: Indices = self.circuits.sum(axis=1)
        return kept


def find_circuits(graph: Graph, scores: Float[Array, "edge"], settings: SearchSettings) -> Found:
    """Return the circuits of all sizes, smallest first, by the scores of edges; with `threshold` the only one."""
    if settings.search == "threshold":
        least = threshold(scores, settings.threshold or 0.0, settings.ranking, settings.varied)
        return Found.of(graph, least[None])
    counts = sizes_of(graph, settings)
    return Found.of(graph, circuits_of_counts(graph, scores, counts, settings), counts)


def circuits_of_counts(
    graph: Graph, scores: Float[Array, "edge"], counts: Sequence[int], settings: SearchSettings
) -> Bool[Flags, "count edge"]:
    """Return circuits with the given numbers of varied edges, before pruning.

    Searches that find their own size, `acdc` and `threshold`, take the edges with the best scores here.
    """
    steps = steps_of(graph, scores, settings.search == "greedy", settings.nodes, settings.ranking, settings.varied)
    return np.stack([steps.circuit(count) for count in counts])


def numbers_of(varied: Bool[Flags, "edge"] | None) -> list[int] | None:
    """Return the edges that circuits may differ in, by their numbers; None for all."""
    return None if varied is None else np.flatnonzero(varied).tolist()


def find_by_acdc(runner: CircuitRunner, settings: SearchSettings, checkpoints: Checkpoints = NO_CHECKPOINTS) -> Found:
    """Return the circuits that ACDC finds, one for each order in which it tries edges, smallest first.

    `checkpoints`: from which the same search goes on after an interruption.
    """
    about = {"tau": settings.tau, "objective": settings.objective, "varied": numbers_of(settings.varied)}
    circuits = []
    for order in range(settings.orders):
        seed = settings.seed + order
        checkpoint = Checkpoint.of(checkpoints, f"acdc_{order}", runner, seed=seed, **about)
        circuits.append(acdc(runner, settings.tau or 0.0, settings.objective, seed, settings.varied, checkpoint))
    by_size = np.argsort([circuit.sum() for circuit in circuits], kind="stable")
    return Found.of(runner.graph, np.stack(circuits)[by_size])


def sizes_of(graph: Graph, settings: SearchSettings) -> list[int]:
    """Return the numbers of edges that circuits are asked to have, smallest first; raises like `edge_counts`."""
    n_edges = settings.n_varied(graph)
    sizes = mib_sizes(n_edges) if settings.sizes is None else settings.sizes
    return sorted(set(edge_counts(n_edges, sizes)))
