"""Which edges of a circuit are drawn, and where heads stand: in the column of their layer, out of the edges' way."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ioi_lab.stats.metrics import Array

INPUT: Final = "input"
LOGITS: Final = "logits"
_NAME: Final = re.compile(r"(?P<writer>[^>]+)->(?P<reader>[^<@]+)(?:<(?P<port>[qkv])>)?(?:@.*)?", re.DOTALL)
_NODE: Final = re.compile(r"(?:a(?P<attention>\d+)\.h(?P<head>\d+)|m(?P<mlp>\d+))")

_NEAR: Final = 0.75
"""The vertical distance, in rows, below which an edge touches the box of a head that it passes."""

_CROSSING: Final = 5.0
"""How many rows further edges may go up or down in place of one that passes through a box."""

_SPARE_ROWS: Final = 2
_SWEEPS: Final = 12

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class DrawnEdge:
    """An edge between nodes; `port` is the input of a head that it ends at: `q`, `k`, `v`, or none."""

    name: str
    """The name of the edge that it is drawn for, without its position."""

    writer: str
    reader: str
    port: str
    score: float


def layer_of(node: str) -> int | None:
    """Return the layer of a head or an MLP; None for the input and the logits."""
    match = _NODE.fullmatch(node)
    return int(match["attention"] or match["mlp"]) if match else None


def is_head(node: str) -> bool:
    """Return whether a node is a head."""
    return node.startswith("a")


def short_name(node: str) -> str:
    """Return the text of a node's box: heads as in other figures, `9.6` for `a9.h6`."""
    return node.replace("a", "", 1).replace("h", "") if is_head(node) else node


def merged(names: Sequence[str], scores: Float[Array, "edge"], shared: int) -> list[DrawnEdge]:
    """Return the edges of names, those at several positions as one with the sum of their scores.

    `shared`: how many query heads a key/value head has. An edge into one is drawn to those of its query heads that
    write edges, or to the first of them.
    """
    sums: dict[tuple[str, str, str], float] = defaultdict(float)
    for name, score in zip(names, scores.tolist(), strict=True):
        match = _NAME.fullmatch(name)
        assert match is not None, name
        sums[match["writer"], match["reader"], match["port"] or ""] += score
    writers = {writer for writer, _, _ in sums}
    edges = []
    for (writer, reader, port), score in sums.items():
        readers = [reader]
        if shared > 1 and port in ("k", "v"):
            layer, head = (int(number) for number in re.findall(r"\d+", reader))
            group = [f"a{layer}.h{each}" for each in range(head * shared, (head + 1) * shared)]
            readers = [each for each in group if each in writers] or group[:1]
        edges += [DrawnEdge(f"{writer}->{reader}<{port}>", writer, each, port, score) for each in readers]
    return edges


def strongest(edges: Sequence[DrawnEdge], most: int, fits: Callable[[Sequence[DrawnEdge]], bool]) -> list[DrawnEdge]:
    """Return at most `most` edges that fit: the strongest, and the strongest into and out of each of their heads.

    So no drawn path ends midway, unless it does so in the circuit; or unless no whole path fits.
    """
    ranked = sorted(edges, key=lambda edge: -abs(edge.score))
    into: dict[str, DrawnEdge] = {}
    out_of: dict[str, DrawnEdge] = {}
    for edge in ranked:
        into.setdefault(edge.reader, edge)
        out_of.setdefault(edge.writer, edge)
    kept = _most_that_fit(lambda count: _connected(ranked[:count], into, out_of), len(ranked), most, fits)
    return kept or _most_that_fit(lambda count: ranked[:count], len(ranked), most, fits)


def _most_that_fit(
    strongest: Callable[[int], list[DrawnEdge]], total: int, most: int, fits: Callable[[Sequence[DrawnEdge]], bool]
) -> list[DrawnEdge]:
    """Return the edges around as many of the strongest ones as fit."""

    def is_too_large(count: int) -> bool:
        kept = strongest(count)
        return len(kept) > most or not fits(kept)

    return strongest(bisect_left(range(min(total, most) + 1), True, key=is_too_large) - 1)


def _connected(
    edges: Sequence[DrawnEdge], into: Mapping[str, DrawnEdge], out_of: Mapping[str, DrawnEdge]
) -> list[DrawnEdge]:
    """Return edges with those that connect their heads and MLPs on both sides."""
    kept = dict.fromkeys(edges)
    read, written = {edge.reader for edge in edges}, {edge.writer for edge in edges}
    waiting = sorted(read | written)
    while waiting:
        node = waiting.pop()
        more = [of[node] for of, known in ((into, read), (out_of, written)) if node not in known and node in of]
        for edge in more:
            kept[edge] = None
            read.add(edge.reader)
            written.add(edge.writer)
            waiting += [edge.writer, edge.reader]
    return list(kept)


@dataclass(frozen=True)
class Places:
    """Where nodes stand: the input before the first column, the logits after the last, MLPs half a column further."""

    layers: list[int]
    """The layer of each column."""

    rows: dict[str, int]
    """The row of each head, from the bottom."""

    @classmethod
    def of(cls, edges: Sequence[DrawnEdge]) -> Places:
        """Place the heads so that edges go up and down little and pass through few boxes."""
        layers, heads = columns_of(edges)
        most = max((len(column) for column in heads), default=0)
        n_rows = most + (_SPARE_ROWS if most > 1 or len(layers) > 1 else 0)
        return cls(layers, _Search(cls(layers, {}), edges, heads, n_rows).rows())

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return max(self.rows.values(), default=-1) + 1

    def column(self, node: str) -> float:
        """Return the place of a node from left to right, in columns."""
        layer = layer_of(node)
        if layer is None:
            return -1.0 if node == INPUT else float(len(self.layers))
        return self.layers.index(layer) + (0.0 if is_head(node) else 0.5)


def columns_of(edges: Iterable[DrawnEdge]) -> tuple[list[int], list[list[str]]]:
    """Return the layers of nodes that edges have, and the heads in each."""
    nodes = {node for edge in edges for node in (edge.writer, edge.reader)}
    layers = sorted({layer for node in nodes if (layer := layer_of(node)) is not None})
    heads: dict[int, list[str]] = {layer: [] for layer in layers}
    for node in sorted(filter(is_head, nodes), key=lambda node: int(node.partition("h")[2])):
        heads[int(node[1 : node.index(".")])].append(node)
    return layers, list(heads.values())


class _Search:
    """A descent by moves of single heads, also to the place of another one, in their columns."""

    def __init__(self, places: Places, edges: Sequence[DrawnEdge], heads: Sequence[Sequence[str]], n_rows: int) -> None:
        self._names = [name for column in heads for name in column]
        self._columns = [[self._names.index(name) for name in column] for column in heads]
        self._n_rows = n_rows
        index = {name: number for number, name in enumerate(self._names)}
        drawn = [edge for edge in edges if edge.writer in index or edge.reader in index]
        self._ends = np.array([[index.get(end, -1) for end in (edge.writer, edge.reader)] for edge in drawn], dtype=int)
        self._ends = self._ends.reshape(-1, 2)
        across = np.array([[places.column(end) for end in (e.writer, e.reader)] for e in drawn]).reshape(-1, 2, 1)
        boxes = np.array([places.column(name) for name in self._names])
        share = (boxes - across[:, 0]) / (across[:, 1] - across[:, 0])
        self._passes = (share > 0) & (share < 1)  # [edge, box]
        self._share = s_curve(share)

    def rows(self) -> dict[str, int]:
        """Return the rows of the heads."""
        rows = np.zeros(len(self._names))
        for column in self._columns:
            first = (self._n_rows - len(column)) // 2
            rows[column] = first + np.arange(len(column))
        cost = self._cost(rows)
        for _ in range(_SWEEPS):
            before = cost
            for column in self._columns:
                for head in column:
                    rows, cost = self._best_move(rows, cost, head, column)
            if cost >= before:
                break
        lowest = rows.min(initial=self._n_rows)
        return {name: int(row - lowest) for name, row in zip(self._names, rows, strict=True)}

    def _best_move(self, rows: Weights, cost: float, head: int, column: list[int]) -> tuple[Weights, float]:
        best = rows
        for row in range(self._n_rows):
            moved = rows.copy()
            moved[[other for other in column if rows[other] == row]] = rows[head]
            moved[head] = row
            if (of_moved := self._cost(moved)) < cost - 1e-9:
                best, cost = moved, of_moved
        return best, cost

    def _cost(self, rows: Weights) -> float:
        """Return how far edges go up or down, and how many boxes they touch."""
        others = rows[self._ends[:, ::-1]]  # edges of the input, the logits and MLPs are level with their head
        ends = np.where(self._ends >= 0, rows[self._ends], others)
        height = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * self._share
        touched = np.clip(1 - np.abs(height - rows) / _NEAR, 0, None) * self._passes
        return float(np.abs(ends[:, 1] - ends[:, 0]).sum() + _CROSSING * touched.sum())


def s_curve(share: Float[Array, "*place"]) -> Float[Array, "*place"]:
    """Return how far up a curve with level ends is, from 0 to 1, at shares of its way from left to right."""
    t = np.linspace(0, 1, 41)
    return np.interp(share, 1.5 * t - 1.5 * t**2 + t**3, 3 * t**2 - 2 * t**3)
