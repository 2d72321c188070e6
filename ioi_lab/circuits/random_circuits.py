"""Random circuits of the size, and if asked for of the kinds of edges, of a circuit: what it is compared with."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from ioi_lab.circuits.graph import Flags, Graph, Indices
from ioi_lab.errors import LabError


def random_circuits(
    graph: Graph,
    circuit: Bool[Flags, "edge"],
    count: int,
    seed: int,
    *,
    matched: bool = False,
    outside: bool = False,
    varied: Bool[Flags, "edge"] | None = None,
    key: str = "intervention.circuit",
) -> Bool[Flags, "count edge"]:
    """Return random circuits with as many edges as a circuit.

    Args:
        graph: The graph.
        circuit: The circuit.
        count: The number of random circuits.
        seed: Draws them.
        matched: Whether they also have as many edges of each class: of the same label, and into the same layer and
            input (queries, keys, values, MLP or logits).
        outside: Whether all their edges are outside the circuit.
        varied: The edges that circuits may differ in; the others are as in the circuit. None varies all edges.
        key: The config key that errors name.

    Raises a `LabError` if fewer edges are outside the circuit than in it.

    """
    varied = np.ones(graph.n_edges, dtype=bool) if varied is None else varied
    classes = edge_classes(graph) if matched else np.zeros(graph.n_edges, dtype=np.int64)
    pool = np.flatnonzero(varied & ~circuit if outside else varied)
    fixed = np.zeros(graph.n_edges, dtype=bool) if outside else circuit & ~varied
    wanted = np.bincount(classes[circuit & varied], minlength=classes.max() + 1)
    there = np.bincount(classes[pool], minlength=len(wanted))
    if (wanted > there).any():
        worst = int(np.argmax(wanted - there))
        example = int(np.flatnonzero(circuit & varied & (classes == worst))[0])
        kind = f" of the class of {graph.names[example]}" if matched else ""
        raise LabError(
            f"{key}: the circuit has {wanted[worst]:,} edges{kind} and {there[worst]:,} are outside it, too few for "
            "random ones of the same number; expected a smaller circuit"
        )
    firsts = np.cumsum(there) - there
    drawn = np.tile(fixed, (count, 1))
    rng = np.random.default_rng(seed)
    for row in drawn:
        shuffled = pool[np.lexsort((rng.random(len(pool)), classes[pool]))]  # class by class, at random within each
        place = np.arange(len(pool)) - firsts[classes[shuffled]]
        row[shuffled[place < wanted[classes[shuffled]]]] = True
    return drawn


def edge_classes(graph: Graph) -> Int[Indices, "edge"]:
    """Return a number for the class of each edge: its label with the layer and the input of its reader."""
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys((r.layer, r.input) for r in graph.readers))}
    of_reader = np.array([kinds[reader.layer, reader.input] for reader in graph.readers])
    return np.asarray(graph.edge_label * len(kinds) + of_reader[graph.edge_reader])
