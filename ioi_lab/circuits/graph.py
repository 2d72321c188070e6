"""The graph of a model: what writes to the residual stream, what reads from it, and the edges between the two.

Writers are `input` (the embedded token, without its position), each head `a5.h3` and each MLP `m5`. Readers are the
query, key and value of each head (`a9.h2<q>`; of each key/value head for `<k>` and `<v>`), each MLP and the `logits`.
An edge leads from a writer to each reader that comes after it. Names as in MIB (Mueller et al. 2025, arXiv 2504.13151).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, Self

import numpy as np
from jaxtyping import Bool, Int

from ioi_lab.errors import LabError, did_you_mean
from ioi_lab.models.shape import ModelShape
from ioi_lab.tasks.positions import all_but
from ioi_lab.tasks.prompts import Position

# Not NDArray[…], for the reason at `stats.metrics.Array`.
Flags = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]
Indices = np.ndarray[tuple[Any, ...], np.dtype[np.int64]]

ReaderInput = Literal["q", "k", "v", "mlp", "logits"]

HEAD_INPUTS: Final[tuple[Literal["q", "k", "v"], ...]] = ("q", "k", "v")

INPUT: Final = "input"
LOGITS: Final = "logits"
REST: Final = "rest"
"""The label of all tokens that have none, in graphs with positions."""


@dataclass(frozen=True)
class Writer:
    """What adds to the residual stream: the input (of layer −1), a head, or an MLP (without a head)."""

    layer: int
    head: int | None = None

    @property
    def name(self) -> str:
        """The name: `input`, `a5.h3` or `m5`."""
        if self.layer < 0:
            return INPUT
        return f"m{self.layer}" if self.head is None else f"a{self.layer}.h{self.head}"


@dataclass(frozen=True)
class Reader:
    """What reads the residual stream: a head's query, key or value, an MLP, or the logits (after the last layer)."""

    input: ReaderInput
    layer: int
    head: int | None = None
    """The head; for `k` and `v` the key/value head, which query heads may share."""

    @property
    def name(self) -> str:
        """The name: `a9.h2<q>`, `m5` or `logits`."""
        if self.input == LOGITS:
            return LOGITS
        return f"m{self.layer}" if self.head is None else f"a{self.layer}.h{self.head}<{self.input}>"


@dataclass(frozen=True)
class Graph:
    """The writers, readers and edges of a model, which are numbered: edges by label, then reader, then writer.

    With `labels`, each edge exists once per position label and once for the `rest` of the tokens: an edge at a label is
    what the reader reads of the writer at that token.
    """

    shape: ModelShape
    labels: tuple[str, ...] = ()
    writers: list[Writer] = field(init=False)
    readers: list[Reader] = field(init=False)

    def __post_init__(self) -> None:
        writers, readers = [Writer(-1)], []
        for layer in range(self.shape.n_layers):
            writers += [*(Writer(layer, head) for head in range(self.shape.n_heads)), Writer(layer)]
            readers += [Reader(each, layer, head) for each in HEAD_INPUTS for head in range(self.shape.heads(each))]
            readers.append(Reader("mlp", layer))
        object.__setattr__(self, "writers", writers)
        object.__setattr__(self, "readers", [*readers, Reader(LOGITS, self.shape.n_layers)])

    @classmethod
    def of(cls, shape: ModelShape, labels: Sequence[str] = ()) -> Self:
        """Return the graph of a model whose layers all have attention heads and an MLP.

        Raises a `LabError` if some layer has none, or has no queries, keys and values of heads.
        """
        for component in ("q", "k", "v", "z", "mlp_out"):
            shape.check_every_layer(component, "a graph of edges")
        return cls(shape, tuple(labels))

    @property
    def n_labels(self) -> int:
        """The number of edges between each writer and reader: one per label and one for the rest; 1 without labels."""
        return len(self.labels) + 1 if self.labels else 1

    @property
    def n_edges(self) -> int:
        """The number of edges."""
        return len(self.edge_writer)

    def n_writers_before(self, reader: Reader) -> int:
        """Return how many of the first writers a reader reads: all that come before it."""
        return (
            1
            + reader.layer * (self.shape.n_heads + 1)
            + (self.shape.n_heads if reader.input == "mlp" and not self.shape.parallel else 0)
        )

    @cached_property
    def _pairs(self) -> Int[Indices, "2 pair"]:
        """Reader and writer of each edge at one position."""
        pairs = [
            (reader, writer) for reader, of in enumerate(self.readers) for writer in range(self.n_writers_before(of))
        ]
        return np.array(pairs).T

    def edge_of(self, reader: int, label: int = 0) -> int:
        """Return the index of a reader's first edge at a label; those from its other writers follow."""
        before = sum(self.n_writers_before(each) for each in self.readers[:reader])
        return label * int(self._pairs.shape[1]) + before

    @cached_property
    def edge_label(self) -> Int[Indices, "edge"]:
        """The index of each edge's label; that of `rest` is the last."""
        return np.repeat(np.arange(self.n_labels), self._pairs.shape[1])

    @cached_property
    def edge_reader(self) -> Int[Indices, "edge"]:
        """The index of each edge's reader."""
        return np.tile(self._pairs[0], self.n_labels)

    @cached_property
    def edge_writer(self) -> Int[Indices, "edge"]:
        """The index of each edge's writer."""
        return np.tile(self._pairs[1], self.n_labels)

    @cached_property
    def names(self) -> list[str]:
        """The name of each edge, such as `a5.h3->a9.h2<q>`, followed by its label, such as `@END`."""
        ends = [f"@{label}" for label in (*self.labels, REST)] if self.labels else [""]
        writers, readers = [writer.name for writer in self.writers], [reader.name for reader in self.readers]
        each = zip(self.edge_writer, self.edge_reader, self.edge_label, strict=True)
        return [f"{writers[writer]}->{readers[reader]}{ends[label]}" for writer, reader, label in each]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def position(self, label: int) -> Position:
        """Return the position that a label's index stands for, as sites name it."""
        if not self.labels:
            return "all"
        return self.labels[label] if label < len(self.labels) else all_but(self.labels)

    def circuit(self, names: Iterable[str], key: str) -> Bool[Flags, "edge"]:
        """Return which edges are named; raises a `LabError` that begins with `key` for one that does not exist."""
        flags = np.zeros(self.n_edges, dtype=bool)
        for name in names:
            if name not in self._index:
                raise LabError(f"{key}: got {name!r}, {self._why_not(name)}")
            flags[self._index[name]] = True
        return flags

    def _why_not(self, name: str) -> str:
        """Return why there is no such edge."""
        of, (writer, arrow, rest) = self.shape.name, name.partition("->")
        reader, at, label = rest.partition("@")
        writers, readers = {each.name for each in self.writers}, {each.name for each in self.readers}
        if not arrow:
            return f"which is not the name of an edge; expected one such as {self.names[-1]}"
        for part, parts, what in ((writer, writers, "writer"), (reader, readers, "reader")):
            if part not in parts:
                return f"but {of} has no {what} {part!r}{did_you_mean(part, parts)}"
        if bool(at) != bool(self.labels) or (at and label not in (*self.labels, REST)):
            expected = f"one of @{', @'.join([*self.labels, REST])}" if self.labels else "no position"
            return f"which ends with {at + label or 'no position'!r}; expected {expected}"
        return f"but {writer} does not come before {reader}"

    def masks(self, circuits: Bool[Flags, "circuit edge"]) -> Bool[Flags, "circuit label reader writer"]:
        """Return, for each circuit, which writers each reader reads at each label."""
        masks = np.zeros((len(circuits), self.n_labels, len(self.readers), len(self.writers)), dtype=bool)
        masks[:, self.edge_label, self.edge_reader, self.edge_writer] = circuits
        return masks

    @cached_property
    def feeds(self) -> Bool[Flags, "reader writer"]:
        """Whether a reader is an input of a writer; a key/value head is that of all query heads that share it."""
        feeds = np.zeros((len(self.readers), len(self.writers)), dtype=bool)
        shared = self.shape.n_heads // self.shape.n_kv_heads
        for row, reader in enumerate(self.readers):
            for column, writer in enumerate(self.writers):
                if reader.layer == writer.layer and (reader.head is None) == (writer.head is None):
                    head = writer.head if writer.head is None or reader.input == "q" else writer.head // shared
                    feeds[row, column] = reader.head == head
        return feeds
