"""What all tests of a circuit share: faithfulness of any circuits on the same prompts, and how a test may end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from jaxtyping import Bool, Float

from ioi_lab.circuits.faithfulness import check_gap
from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.selection import nodes_of, pruned
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

Outcome = Literal["holds", "fails", "not shown", "not testable"]
"""How a test ends: the evidence is for the claim, against it, or neither; or the test is not possible here."""

LEVEL: Final = 0.05
"""The p-value below which chance is ruled out."""

MARGIN: Final = 0.15
"""The greatest deviation of faithfulness that still counts as none: 1 less `faithfulness.FAITHFUL`."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Runs circuits, and puts their logit differences on the scale of faithfulness f: 0 without edges, 1 with all."""

    runner: CircuitRunner
    whole: Float[Array, "1 prompt"]
    """The logit difference of each prompt with all edges."""

    empty: Float[Array, "1 prompt"]
    """That with none."""

    @classmethod
    def of(cls, runner: CircuitRunner) -> Self:
        """Return the evaluation by a runner; raises a `LabError` if all edges give no more than none."""
        values = runner.ends().logit_diff
        check_gap(values[:1], values[1:])
        return cls(runner, values[:1], values[1:])

    @property
    def graph(self) -> Graph:
        """The graph of the model."""
        return self.runner.graph

    def logit_diffs(self, circuits: Bool[Flags, "circuit edge"]) -> Float[Array, "circuit prompt"]:
        """Return the logit difference of each prompt with each circuit."""
        return self.runner.run(circuits).logit_diff

    def points(self, logit_diffs: Float[Array, "circuit prompt"]) -> Float[Array, "circuit"]:
        """Return the faithfulness of circuits, without intervals."""
        values: Array = (logit_diffs.mean(axis=1) - self.empty.mean()) / (self.whole.mean() - self.empty.mean())
        return values

    def faithfulness(self, logit_diffs: Float[Array, "circuit prompt"]) -> Estimate:
        """Return the faithfulness of circuits."""
        return self.changes(logit_diffs - self.empty)

    def changes(self, differences: Float[Array, "row prompt"]) -> Estimate:
        """Return changes of faithfulness, from differences between logit differences."""
        return self.runner.engine.bootstrap.ratio(differences, self.whole - self.empty)


def without(graph: Graph, circuit: Bool[Flags, "edge"], writers: list[int]) -> Bool[Flags, "edge"]:
    """Return a circuit without the edges that some writers write: nothing reads them then."""
    removed = np.zeros(len(graph.writers), dtype=bool)
    removed[writers] = True
    return circuit & ~removed[graph.edge_writer]


def nodes_in(graph: Graph, circuit: Bool[Flags, "edge"]) -> list[int]:
    """Return the indices of the heads and MLPs on a path from the input to the logits."""
    nodes = set(nodes_of(graph, pruned(graph, circuit)))
    return [index for index, writer in enumerate(graph.writers) if writer in nodes]


def largest_nodes(
    graph: Graph, circuit: Bool[Flags, "edge"], scores: Float[Array, "edge"], nodes: list[int], most: int
) -> list[int]:
    """Return the nodes with the largest absolute scores, summed over the circuit's edges that each writes.

    At most `most` of them, in the order of the graph.
    """
    kept = np.where(circuit, np.abs(scores), 0.0)
    sizes = np.bincount(graph.edge_writer, kept, minlength=len(graph.writers))[nodes]
    largest = np.argsort(-sizes, kind="stable")[:most]
    return sorted(nodes[row] for row in largest.tolist())


def among_nodes(graph: Graph, circuit: Bool[Flags, "edge"]) -> Bool[Flags, "edge"]:
    """Return all edges between the input, the logits, and the heads and MLPs of a circuit: the circuit of its nodes."""
    inside = np.zeros(len(graph.writers), dtype=bool)
    inside[[0, *nodes_in(graph, circuit)]] = True
    is_read = graph.feeds @ inside
    is_read[-1] = True  # the logits
    return np.asarray(inside[graph.edge_writer] & is_read[graph.edge_reader])
