"""ACDC: a circuit by leaving out edges one after another (Conmy et al. 2023, arXiv 2304.14997).

Readers are visited from the logits down to the first layer, and the edges into each from the latest writer to the
earliest. An edge is left out if the objective then falls by less than τ. The result depends on the order of readers and
writers within a layer, which is random here: several orders show how much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Bool, Int

from ioi_lab.circuits.checkpoints import NO_CHECKPOINT, Checkpoint
from ioi_lab.circuits.edge_gradients import Objective
from ioi_lab.circuits.graph import Flags, Graph, Indices
from ioi_lab.circuits.reading import needed_writers
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.scores import kept_by
from ioi_lab.terminal import progress_bar

_AT_ONCE: Final = 16
"""The number of edges that are left out in turn in one batch: if one has to stay, those after it are tried again."""


def acdc(
    runner: CircuitRunner,
    tau: float,
    objective: Objective = "kl",
    seed: int = 0,
    varied: Bool[Flags, "edge"] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Bool[Flags, "edge"]:
    """Return the circuit that ACDC finds.

    Args:
        runner: Evaluates circuits.
        tau: The largest fall of the mean objective at which an edge is left out: in nats for `kl`, else in logits.
        objective: What the circuit should keep.
        seed: Draws the order of readers and writers within each layer.
        varied: The edges that may be left out; None for all.
        checkpoint: Keeps the circuit after each reader.

    """
    graph = runner.graph
    varied = np.ones(graph.n_edges, dtype=bool) if varied is None else varied
    state = checkpoint.load() or {"circuit": np.ones(graph.n_edges), "readers": np.zeros(1)}
    circuit, n_readers = state["circuit"].astype(bool), int(state["readers"][0])
    kept = _objective(runner, circuit[None], objective)[0]
    with progress_bar(int(varied.sum()), "ACDC", unit="edge") as bar:
        for number, edges in enumerate(_by_reader(graph, seed)):
            waiting = edges[varied[edges]].tolist()
            if number < n_readers:  # done before an interruption
                bar.update(len(waiting))
                continue
            checkpoint.save({"circuit": circuit.astype(np.float64), "readers": np.array([float(number)])})
            if not _is_needed(graph, circuit, int(edges[0])):  # nothing reads what this reader is an input of
                circuit[waiting] = False
                bar.update(len(waiting))
                continue
            while waiting:
                tried = waiting[:_AT_ONCE]
                circuits = np.tile(circuit, (len(tried), 1))
                for row, edge in enumerate(tried):
                    circuits[row:, edge] = False
                values = [kept, *_objective(runner, circuits, objective)]
                falls = [before - after for before, after in pairwise(values)]
                left_out = next((row for row, fall in enumerate(falls) if not fall < tau), len(tried))
                circuit[tried[:left_out]] = False
                kept = values[left_out]
                done = min(left_out + 1, len(tried))  # the edge after those stays
                waiting = waiting[done:]
                bar.update(done)
    return circuit


def _objective(runner: CircuitRunner, circuits: Bool[Flags, "circuit edge"], objective: Objective) -> Sequence[float]:
    means: list[float] = kept_by(runner.run(circuits, progress=False), objective).mean(axis=1).tolist()
    return means


def _is_needed(graph: Graph, circuit: Bool[Flags, "edge"], edge: int) -> bool:
    """Return whether the circuit needs the head or MLP that the edge's reader is an input of."""
    reader = graph.edge_reader[edge]
    is_logits = reader == len(graph.readers) - 1
    return bool(is_logits or (needed_writers(graph.masks(circuit[None]), graph.feeds)[0] & graph.feeds[reader]).any())


def _by_reader(graph: Graph, seed: int) -> list[Int[Indices, "edge"]]:
    """Return the edges into each reader, from the logits down, in the order in which they are tried."""
    rng = np.random.default_rng(seed)
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, reader in enumerate(graph.readers):
        places[reader.layer, int(reader.input == "mlp")].append(index)
    writer_layers = np.array([2 * writer.layer + (writer.head is None) for writer in graph.writers])
    order = []
    for _, readers in sorted(places.items(), reverse=True):
        for reader in rng.permutation(readers).tolist():
            edges = np.flatnonzero(graph.edge_reader == reader)
            latest_first = np.lexsort((rng.random(len(edges)), -writer_layers[graph.edge_writer[edges]]))
            order.append(edges[latest_first])
    return order
