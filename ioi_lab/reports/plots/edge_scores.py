"""Scores of edges summed up: by the classes of their ends, and how far methods agree on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ioi_lab.reports.plots.maps import heat_maps
from ioi_lab.reports.plots.style import Axis
from ioi_lab.stats.metrics import Array


def class_matrix(
    scores: Float[Array, "writer reader"],
    counts: Int[NDArray[np.int64], "writer reader"],
    writers: Sequence[str],
    readers: Sequence[str],
    title: str,
) -> Figure:
    """Draw the sum of the scores of a circuit's edges from each class of writers to each class of readers.

    Pairs of classes without an edge in the circuit are left blank.

    Args:
        scores: The sum of scores of each pair of classes.
        counts: The number of edges of each pair.
        writers: The names of the classes of writers, such as `induction`.
        readers: The names of the classes of readers, such as `name mover q`.
        title: The title of the figure.

    """
    shown = np.where(counts > 0, scores, np.nan)
    named_writers = [f"{name} ({count:,})" for name, count in zip(writers, counts.sum(axis=1), strict=True)]
    named_readers = [f"{name} ({count:,})" for name, count in zip(readers, counts.sum(axis=0), strict=True)]
    rows, columns = Axis("writer (edges)", named_writers), Axis("reader (edges)", named_readers)
    return heat_maps({"": shown}, rows, columns, title, "sum of scores")


def method_agreement(methods: Sequence[str], correlations: Float[Array, "method method"], title: str) -> Figure:
    """Draw the rank correlations over edges between the scores of each two methods."""
    axis = Axis("", methods)
    shown = np.where(np.eye(len(methods), dtype=bool), np.nan, correlations)  # each agrees with itself
    return heat_maps({"": shown}, axis, axis, title, "rank correlation", limit=1.0)
