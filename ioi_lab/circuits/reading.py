"""What readers read in a circuit: sums of what writers write, in the pass itself or in the counterfactual."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.engine.buckets import Bucket, Places

Streams = tuple[Float[Tensor, "row pos d_model"], Float[Tensor, "row pos d_model"]]
"""The residual stream with all edges kept, and with all edges ablated."""

_FEW: Final = 0.7
"""Below this share of writers that are summed up, they are copied first."""


def places_of_labels(graph: Graph, bucket: Bucket, start: int) -> list[Places]:
    """Return the places of each label from position `start` on, counted from there; nothing without labels."""
    places = []
    for label in range(graph.n_labels if graph.labels else 0):
        rows, positions = bucket.places(graph.position(label))
        reached = positions >= start
        places.append((rows[reached], positions[reached] - start))
    return places


def needed_writers(
    masks: Bool[Flags, "circuit label reader writer"], feeds: Bool[Flags, "reader writer"]
) -> Bool[Flags, "circuit writer"]:
    """Return which writers reach the logits through the kept edges of each circuit.

    Args:
        masks: Which writers each reader reads at each label; the last reader is the logits.
        feeds: Whether what a reader reads changes what a writer writes.

    """
    kept = np.logical_or.reduce(masks, axis=1)
    needed: Flags = kept[:, -1].copy()  # by the logits
    for reader in reversed(range(len(feeds) - 1)):
        is_needed = (needed & feeds[reader]).any(axis=1)
        needed |= is_needed[:, None] & kept[:, reader]
    return needed


def streams_read(
    masks: Bool[Flags, "label reader writer"],
    changes: Float[Tensor, "writer row pos d_model"],
    streams: Streams,
    places: Sequence[Places],
    offset: int = 0,
) -> Iterator[tuple[list[int], Float[Tensor, "row pos d_model"]]]:
    """Yield readers that read the same, by their indices, and the stream that they read from position `offset` on.

    Args:
        masks: Which writers each reader reads at each label.
        changes: What each writer writes in this pass, less the counterfactual.
        streams: The stream with all edges kept, and with all edges ablated.
        places: The places of each label; none if there is one label, of all tokens.
        offset: The first position that is read.

    """
    wanted, group_of = np.unique(masks.transpose(1, 0, 2), axis=0, return_inverse=True)
    wanted = wanted.transpose(1, 0, 2)
    changes, (live, base) = changes[:, :, offset:], (stream[:, offset:] for stream in streams)
    if places:
        each: Iterable[Tensor] = _by_label(wanted, changes, (live, base), places, offset)
    else:
        each = _sums(wanted[0], changes, (live, base))
    for group, stream in enumerate(each):
        yield np.flatnonzero(group_of.reshape(-1) == group).tolist(), stream


def _sums(
    wanted: Bool[Flags, "group writer"], changes: Float[Tensor, "writer *place d_model"], streams: Streams
) -> Iterator[Float[Tensor, "*place d_model"]]:
    """Yield what each group reads, with as few terms as possible: without the ablated edges, or of the kept ones."""
    is_dense = 2 * wanted.sum(axis=1) > wanted.shape[1]
    terms = wanted ^ is_dense[:, None]
    used = np.flatnonzero(terms.any(axis=0))
    if not len(used):
        yield from (streams[0] if dense else streams[1] for dense in is_dense)
        return
    few = len(used) < _FEW * wanted.shape[1]
    columns = torch.from_numpy(used)
    factors = np.where(is_dense[:, None], -1.0, 1.0) * terms
    matrix = torch.from_numpy(factors[:, used] if few else factors).to(changes)
    of = changes[columns.to(changes.device)] if few else changes
    sums = (matrix @ of.flatten(1)).unflatten(1, of.shape[1:])
    for group, dense in enumerate(is_dense):
        stream = streams[0] if dense else streams[1]
        yield stream + sums[group] if terms[group].any() else stream


def _by_label(
    wanted: Bool[Flags, "label group writer"],
    changes: Float[Tensor, "writer row pos d_model"],
    streams: Streams,
    places: Sequence[Places],
    offset: int,
) -> list[Float[Tensor, "row pos d_model"]]:
    read = [torch.empty_like(streams[0]) for _ in range(wanted.shape[1])]
    for label, (rows, positions) in enumerate(places):
        reached = positions >= offset
        where = rows[reached], positions[reached] - offset
        at_label = _sums(wanted[label], changes[:, *where], (streams[0][where], streams[1][where]))
        for stream, values in zip(read, at_label, strict=True):
            stream[where] = values
    return read
