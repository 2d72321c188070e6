"""From the scores of edges to circuits: which edges a search keeps at which size.

A search numbers the edges: each enters at its step, and the circuit of a size consists of the first steps, so that
larger circuits contain smaller ones. Searches as in EAP-IG (Hanna et al. 2024, arXiv 2403.17806) and MIB (Mueller et
al. 2025, arXiv 2504.13151).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ioi_lab.circuits.graph import Flags, Graph, Indices, Writer
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array

Ranking = Literal["absolute", "signed"]
"""Whether the best edges are those with the largest effect, or those that help most."""

Nodes = Literal["edges", "heads_and_mlps"]

MIB_SIZES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of all edges at which MIB measures circuits."""


@dataclass(frozen=True)
class Steps:
    """The step at which each edge enters; edges of one step enter together, those of step −1 are in every circuit."""

    of_edge: Int[Indices, "edge"]

    @classmethod
    def one_by_one(cls, order: Int[Indices, "varied"], n_edges: int) -> Steps:
        """Return the steps of edges that enter in an order; the others are in every circuit."""
        of_edge = np.full(n_edges, -1, dtype=np.int64)
        of_edge[order] = np.arange(len(order))
        return cls(of_edge)

    def circuit(self, size: int) -> Bool[Flags, "edge"]:
        """Return the largest circuit of at most `size` edges; those that are in every circuit are not counted."""
        ends = np.cumsum(np.bincount(self.of_edge[self.of_edge >= 0]))
        return np.asarray(self.of_edge < np.searchsorted(ends, size, side="right"))


def steps_of(
    graph: Graph,
    scores: Float[Array, "edge"],
    is_greedy: bool,
    nodes: Nodes,
    ranking: Ranking,
    varied: Bool[Flags, "edge"] | None = None,
) -> Steps:
    """Return the steps of whole heads and MLPs, or of edges, greedily from the logits upwards or the best first.

    `varied`: the edges that circuits may differ in; the others are in every circuit. None varies all edges.
    """
    if nodes == "heads_and_mlps":
        return heads_and_mlps(graph, scores, ranking, varied)
    return greedy(graph, scores, ranking, varied) if is_greedy else topn(scores, ranking, varied)


def topn(scores: Float[Array, "edge"], ranking: Ranking, varied: Bool[Flags, "edge"] | None = None) -> Steps:
    """Let the edges enter from the best to the worst; equally good ones in the order of the graph.

    `varied`: the edges that circuits may differ in; the others are in every circuit. None varies all edges.
    """
    order = np.argsort(-_goodness(scores, ranking), kind="stable")
    return Steps.one_by_one(order if varied is None else order[varied[order]], len(scores))


def greedy(
    graph: Graph, scores: Float[Array, "edge"], ranking: Ranking, varied: Bool[Flags, "edge"] | None = None
) -> Steps:
    """Let the edges enter from the logits upwards: the best edge whose reader is in comes next.

    The logits are in; a head or an MLP is in as soon as an edge that it writes is. `varied` as in `topn`.
    """
    varied = np.ones(graph.n_edges, dtype=bool) if varied is None else varied
    cost, writer_of = (-_goodness(scores, ranking)).tolist(), graph.edge_writer.tolist()
    inputs = [np.flatnonzero(column).tolist() for column in graph.feeds.T]
    by_reader = np.argsort(graph.edge_reader, kind="stable")
    ends = np.cumsum(np.bincount(graph.edge_reader))[:-1]
    waiting = dict(enumerate(edges.tolist() for edges in np.split(by_reader, ends)))
    candidates: list[tuple[float, int]] = []

    def admit(readers: Collection[int]) -> None:
        for reader in readers:
            for edge in waiting.pop(reader, ()):
                if varied[edge]:
                    heappush(candidates, (cost[edge], edge))

    admit([len(graph.readers) - 1])
    for writer in np.unique(graph.edge_writer[~varied]).tolist():
        admit(inputs[writer])
    order: list[int] = []
    while candidates:
        _, edge = heappop(candidates)
        order.append(edge)
        admit(inputs[writer_of[edge]])
    return Steps.one_by_one(np.array(order, dtype=np.int64), graph.n_edges)


def heads_and_mlps(
    graph: Graph, scores: Float[Array, "edge"], ranking: Ranking, varied: Bool[Flags, "edge"] | None = None
) -> Steps:
    """Let whole heads and MLPs enter, the best first, each with all edges among those that are in.

    The score of a head or an MLP is the sum of those of the edges that it writes. The input and the logits are in from
    the first step, and so is a key/value head as soon as one of its query heads is. `varied` as in `topn`.
    """
    of_writer: Array = np.bincount(graph.edge_writer, scores, minlength=len(graph.writers)).astype(np.float64)
    rank = np.zeros(len(graph.writers), dtype=np.int64)  # the input enters first
    rank[1 + np.argsort(-_goodness(of_writer[1:], ranking), kind="stable")] = np.arange(1, len(rank))
    of_reader = np.where(graph.feeds, rank, len(rank)).min(axis=1)
    of_reader[-1] = 0  # the logits
    steps = np.maximum(rank[graph.edge_writer], of_reader[graph.edge_reader])
    return Steps(steps if varied is None else np.where(varied, steps, -1))


def threshold(
    scores: Float[Array, "edge"], least: float, ranking: Ranking, varied: Bool[Flags, "edge"] | None = None
) -> Bool[Flags, "edge"]:
    """Return the circuit of the edges whose score is at least `least`. `varied` as in `topn`."""
    kept = np.asarray(_goodness(scores, ranking) >= least)
    return kept if varied is None else kept | ~varied


def _goodness(scores: Float[Array, "item"], ranking: Ranking) -> Float[Array, "item"]:
    return np.abs(scores) if ranking == "absolute" else scores


def pruned(graph: Graph, circuit: Bool[Flags, "edge"]) -> Bool[Flags, "edge"]:
    """Return the edges of a circuit that lie on a path from the input to the logits.

    A head or an MLP is connected if it has edges on both sides, at whatever label and into whichever of its inputs.
    Without the others, edges lose an end, and so on until nothing changes.
    """
    while True:
        connected = _connected(graph, circuit)
        is_read = graph.feeds @ connected
        is_read[-1] = True  # the logits
        kept = circuit & connected[graph.edge_writer] & is_read[graph.edge_reader]
        if kept.sum() == circuit.sum():
            return kept
        circuit = kept


def nodes_of(graph: Graph, circuit: Bool[Flags, "edge"]) -> list[Writer]:
    """Return the heads and MLPs that have edges on both sides in a circuit, in the order of the graph."""
    connected = _connected(graph, circuit)
    return [writer for writer, flag in zip(graph.writers[1:], connected[1:], strict=True) if flag]


def _connected(graph: Graph, circuit: Bool[Flags, "edge"]) -> Bool[Flags, "writer"]:
    """Return which writers have edges on both sides; the input needs none before it."""
    writes, reads = np.zeros(len(graph.writers), dtype=bool), np.zeros(len(graph.readers), dtype=bool)
    writes[graph.edge_writer[circuit]] = True
    reads[graph.edge_reader[circuit]] = True
    is_fed = reads @ graph.feeds
    is_fed[0] = True
    return np.asarray(writes & is_fed)


def edges_at(
    graph: Graph, heads: Collection[tuple[int, int]] | None = None, layers: Collection[int] | None = None
) -> Bool[Flags, "edge"]:
    """Return the edges that a head or an MLP in some layers writes or reads.

    Args:
        graph: The graph.
        heads: The heads, (layer, head), whose edges are meant; None for all heads and MLPs.
        layers: The layers; None for all.

    """
    chosen = np.array(
        [
            writer.layer >= 0
            and (heads is None or (writer.layer, writer.head) in heads)
            and (layers is None or writer.layer in layers)
            for writer in graph.writers
        ]
    )
    return np.asarray(chosen[graph.edge_writer] | (graph.feeds @ chosen)[graph.edge_reader])


def edge_counts(n_edges: int, sizes: Sequence[float], key: str = "intervention.sizes") -> list[int]:
    """Return the numbers of edges that sizes ask for: up to 1 they are shares of `n_edges`, above it numbers.

    Raises a `LabError` that begins with `key` for a size that is out of range, or no edge at all.
    """
    return [_edge_count(n_edges, size, key) for size in sizes]


def _edge_count(n_edges: int, size: float, key: str) -> int:
    expected = f"expected a share up to 1, or a number of edges from 2 to {n_edges:,}"
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size <= n_edges:
        raise LabError(f"{key}: got {size}, {expected}")
    if size > 1:
        if size != int(size):
            raise LabError(f"{key}: got {size}, {expected}")
        return int(size)
    count = round(size * n_edges)
    if count == 0:
        raise LabError(f"{key}: got {size}, which is no edge of {n_edges:,}; expected at least {1 / n_edges:.2g}")
    return count


def mib_sizes(n_edges: int) -> list[float]:
    """Return those of MIB's sizes that are at least one of `n_edges` edges: all of them above 500."""
    return [size for size in MIB_SIZES if round(size * n_edges) > 0]
