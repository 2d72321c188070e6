"""How far the scores and the circuits of methods agree, and between which classes of heads the edges of one lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from ioi_lab.circuits.graph import INPUT, LOGITS, Flags, Graph, Indices
from ioi_lab.stats.metrics import Array

MLPS: Final = "MLPs"
OTHER: Final = "other heads"


def rank_correlations(scores: Float[Array, "method edge"]) -> Float[Array, "method method"]:
    """Return Spearman's rank correlation over edges of each two methods; NaN for scores that are all equal."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.corrcoef(ranks).reshape(len(scores), len(scores)))


def jaccard(circuits: Bool[Flags, "circuit edge"]) -> Float[Array, "circuit circuit"]:
    """Return the edges in both of each two circuits as a share of those in either; NaN for two without edges."""
    edges = circuits.astype(np.float64)
    both = edges @ edges.T
    either = np.diag(both)[:, None] + np.diag(both)[None] - both
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)


@dataclass(frozen=True)
class ClassSums:
    """The edges of a circuit summed up by the classes of their writers and readers."""

    writers: list[str]
    readers: list[str]
    scores: Float[Array, "writer reader"]
    counts: Int[Indices, "writer reader"]


def class_sums(
    graph: Graph, circuit: Bool[Flags, "edge"], scores: Float[Array, "edge"], classes: Mapping[str, str]
) -> ClassSums:
    """Return the number of edges and the sum of their scores from each class of writers to each class of readers.

    Heads without a class are `other heads`; a key/value head has the class of the first of its query heads that has
    one. The class of a reader includes its input, such as `induction k`. Classes without edges are left out.

    Args:
        graph: The graph.
        circuit: The edges that are counted.
        scores: The scores of all edges.
        classes: The class of each head by its name, such as `a5.h5`: `induction`; their order is kept.

    """
    order = [INPUT, *dict.fromkeys(classes.values()), OTHER, MLPS]
    of_writer = [
        INPUT,
        *(MLPS if writer.head is None else classes.get(writer.name, OTHER) for writer in graph.writers[1:]),
    ]
    of_reader = []
    for reader, feeds in zip(graph.readers, graph.feeds, strict=True):
        if reader.head is None:
            of_reader.append(LOGITS if reader.input == LOGITS else MLPS)
        else:
            heads = [of_writer[writer] for writer in np.flatnonzero(feeds)]
            of_reader.append(f"{next((name for name in heads if name != OTHER), OTHER)} {reader.input}")
    readers = [*(f"{name} {each}" for name in order[1:-1] for each in "qkv"), MLPS, LOGITS]
    shape = len(order), len(readers)
    rows = np.array([order.index(name) for name in of_writer])[graph.edge_writer[circuit]]
    columns = np.array([readers.index(name) for name in of_reader])[graph.edge_reader[circuit]]
    sums, counts = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    np.add.at(sums, (rows, columns), scores[circuit])
    np.add.at(counts, (rows, columns), 1)
    used = np.flatnonzero(counts.any(axis=1)), np.flatnonzero(counts.any(axis=0))
    return ClassSums(
        [order[row] for row in used[0]],
        [readers[column] for column in used[1]],
        sums[np.ix_(*used)],
        counts[np.ix_(*used)],
    )
