"""Random paths from the input to the logits, and circuits that are made of them."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool, Int

from ioi_lab.circuits.graph import Flags, Graph, Indices

_STALLED: Final = 200
"""The number of successive paths without a new edge after which the remaining edges are drawn one by one."""


class RandomPaths:
    """Draws paths of a graph: a random edge into the logits, then one into a random input of its writer, and so on.

    `seed` draws them.
    """

    def __init__(self, graph: Graph, seed: int) -> None:
        self._graph, self._rng = graph, np.random.default_rng(seed)
        self._inputs = [np.flatnonzero(column) for column in graph.feeds.T]
        self._into = _edges_into(graph)

    def path(self) -> list[int]:
        """Return the edges of a path, from the logits to the input."""
        edges, reader = list[int](), len(self._graph.readers) - 1
        while True:
            edges.append(int(self._rng.choice(self._into[reader])))
            writer = int(self._graph.edge_writer[edges[-1]])
            if writer == 0:
                return edges
            reader = int(self._rng.choice(self._inputs[writer]))

    def circuits(self, size: int, count: int) -> Bool[Flags, "count edge"]:
        """Return circuits of exactly `size` edges, each the union of random paths.

        The last path is cut short when the size is reached, so a few of its edges may be idle. Random edges without
        this walk are hardly ever connected, which makes them an easy comparison.
        """
        drawn = np.zeros((count, self._graph.n_edges), dtype=bool)
        for row in drawn:
            kept, stalled = 0, 0
            while kept < size and stalled < _STALLED:
                new = [edge for edge in self.path() if not row[edge]][: size - kept]
                row[new] = True
                kept += len(new)
                stalled = 0 if new else stalled + 1
            row[self._rng.permutation(np.flatnonzero(~row))[: size - kept]] = True
        return drawn


def _edges_into(graph: Graph) -> list[Int[Indices, "edge"]]:
    by_reader = np.argsort(graph.edge_reader, kind="stable")
    ends = np.cumsum(np.bincount(graph.edge_reader, minlength=len(graph.readers)))[:-1]
    return np.split(by_reader, ends)
