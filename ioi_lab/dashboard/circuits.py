"""A circuit run as data: its curves, and its circuit of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.circuits.files import FILE, CircuitFile
from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.selection import Nodes, Ranking, pruned, steps_of
from ioi_lab.dashboard.places import RunsFolder, name_in
from ioi_lab.dashboard.results import UnreadableError, read_csv
from ioi_lab.errors import LabError
from ioi_lab.models.shape import ModelShape
from ioi_lab.reports.plots.edge_layout import DrawnEdge, Places, merged, strongest
from ioi_lab.stats.metrics import Array

CURVE: Final = "curve.csv"
EDGES: Final = "edges.csv"
CONTROLS: Final = "controls.csv"
MOST_DRAWN: Final = 60
"""The greatest number of edges that are drawn: more could not be followed."""

_SIZES: Final = 60
"""About how many sizes the slider has."""

Line = tuple[str, str]
"""A method and a ranking."""


@dataclass(frozen=True)
class Drawn:
    """The part of a circuit that is drawn."""

    edges: list[DrawnEdge]
    places: Places
    n_edges: int
    """How many edges the circuit has, those at several positions as one."""


@dataclass(frozen=True)
class CircuitRun:
    """The tables of a run of `intervention=circuit`."""

    curve: pd.DataFrame
    edges: pd.DataFrame
    controls: pd.DataFrame
    graph: Graph
    search: str
    nodes: Nodes
    is_nested: bool
    """Whether circuits of all sizes follow from the scores; else the only circuit is the one that the run has kept."""

    @classmethod
    def read(cls, runs: RunsFolder, folder: str, row: Mapping[str, Any]) -> CircuitRun:
        """Return the circuits of a run, whose keys and metrics are `row`; raises `UnreadableError`."""
        curve, edges = read_csv(runs, folder, CURVE), read_csv(runs, folder, EDGES)
        try:
            controls = read_csv(runs, folder, CONTROLS)
        except UnreadableError:
            controls = pd.DataFrame({"kind": []})
        path = runs.file(name_in(folder, FILE))
        if path is None:
            raise UnreadableError(f"this run has no {FILE}")
        try:
            graph = _graph_of(CircuitFile.read(path, "the circuit"))
        except LabError as error:
            raise UnreadableError(str(error)) from error
        nodes = "heads_and_mlps" if row.get("intervention.nodes") == "heads_and_mlps" else "edges"
        run = cls(
            curve=curve,
            edges=edges,
            controls=controls,
            graph=graph,
            search=str(row.get("intervention.search", "topn")),
            nodes=cast(Nodes, nodes),
            is_nested=row.get("intervention.search", "topn") in ("topn", "greedy")
            and row.get("intervention.from_run") is None
            and all(row.get(f"intervention.only.{part}", "all") == "all" for part in ("layer", "head")),
        )
        run.check()
        return run

    def check(self) -> None:
        """Raise `UnreadableError` unless the tables have the columns and edges of the graph."""
        for name, table, columns in (
            (CURVE, self.curve, {"method", "ranking", "k", "edges_asked", "edges_kept", "faithfulness"}),
            (EDGES, self.edges, {"method", "edge", "score", "in_circuit"}),
        ):
            if table.empty or not columns <= set(table):
                raise UnreadableError(f"{name} lacks {', '.join(sorted(columns - set(table))) or 'rows'}")
        for method, rows in self.edges.groupby("method"):
            if rows["edge"].tolist() != self.graph.names:
                raise UnreadableError(f"{EDGES} has other edges by {method} than the graph of the model")

    @cached_property
    def lines(self) -> list[Line]:
        """The methods with their rankings, in the order of the curves; those without scores for edges are left out."""
        pairs = dict.fromkeys(zip(self.curve["method"].astype(str), self.curve["ranking"].astype(str), strict=True))
        scored = set(self.edges.loc[self.edges["score"].notna(), "method"])
        return [pair for pair in pairs if pair[0] in scored]

    def line_of(self, text: str) -> Line | None:
        """Return the line of a text such as `eap:absolute`, or the first; None if there is none."""
        return next((line for line in self.lines if ":".join(line) == text), self.lines[0] if self.lines else None)

    @cached_property
    def sizes(self) -> list[int]:
        """The sizes of the slider: those that were measured, and others at about equal ratios."""
        if not self.is_nested:
            return [self.kept_size]
        n_edges = self.graph.n_edges
        between = np.unique(np.geomspace(1, n_edges, _SIZES).round().astype(int))
        return sorted({*between.tolist(), *self.measured})

    @cached_property
    def measured(self) -> list[int]:
        """The sizes at which faithfulness was measured."""
        return sorted(set(self.curve["edges_asked"].astype(int)))

    @cached_property
    def kept_size(self) -> int:
        """The number of edges of the circuit that the run has kept, as it was asked for."""
        first = self.edges["method"].iloc[0]
        own = int(self.edges.loc[self.edges["method"] == first, "in_circuit"].sum())
        rows = self.curve[self.curve["edges_kept"] == own]
        return int(rows["edges_asked"].iloc[0]) if len(rows) else own

    def scores(self, method: str) -> Float[Array, "edge"]:
        """Return the scores of a method."""
        return self.edges.loc[self.edges["method"] == method, "score"].to_numpy(dtype=float)

    def circuit(self, line: Line, size: int) -> Bool[NDArray[np.bool_], "edge"]:
        """Return the circuit of a size by a method, pruned to what connects the input to the logits."""
        if not self.is_nested:
            rows = self.edges[self.edges["method"] == line[0]]
            return rows["in_circuit"].to_numpy(dtype=bool)
        ranking = cast(Ranking, line[1] if line[1] in ("absolute", "signed") else "absolute")
        scores = np.nan_to_num(self.scores(line[0]))
        steps = steps_of(self.graph, scores, self.search == "greedy", self.nodes, ranking)
        return pruned(self.graph, steps.circuit(size))

    def measured_at(self, line: Line, size: int) -> dict[str, Any] | None:
        """Return the row of the curve at a size; None if it was not measured."""
        rows = self.curve[(self.curve["method"] == line[0]) & (self.curve["ranking"] == line[1])]
        rows = rows[rows["edges_asked"] == size]
        return {str(key): value for key, value in rows.iloc[0].items()} if len(rows) else None

    def drawn(self, line: Line, size: int) -> Drawn:
        """Return what is drawn of the circuit of a size.

        Up to `MOST_DRAWN` edges, heads stand where they stand in the largest such circuit, so that they stay in place
        while the size changes.
        """
        of_size = self._merged(line, size)
        if len(of_size) > MOST_DRAWN:
            shown = strongest(of_size, MOST_DRAWN, lambda _: True)
            return Drawn(shown, Places.of(shown), len(of_size))
        larger = (self._merged(line, each) for each in self.sizes if each > size)
        largest = [of_size, *takewhile(lambda edges: len(edges) <= MOST_DRAWN, larger)][-1]
        nodes = {node for edge in of_size for node in (edge.writer, edge.reader)}
        known = {node for edge in largest for node in (edge.writer, edge.reader)}
        return Drawn(of_size, Places.of(largest if nodes <= known else of_size), len(of_size))

    def _merged(self, line: Line, size: int) -> list[DrawnEdge]:
        kept = np.flatnonzero(self.circuit(line, size))
        scores = np.nan_to_num(self.scores(line[0]))[kept]
        shared = self.graph.shape.n_heads // self.graph.shape.n_kv_heads
        return merged([self.graph.names[edge] for edge in kept], scores, shared)

    def table(self, line: Line, size: int) -> pd.DataFrame:
        """Return the edges of the circuit of a size, the strongest first."""
        rows = self.edges[self.edges["method"] == line[0]][self.circuit(line, size)]
        columns = [name for name in ("edge", "position", "score", "score_low", "score_high") if name in rows]
        return rows[columns].sort_values("score", key=lambda score: -score.abs())


def _graph_of(file: CircuitFile) -> Graph:
    model = file.model
    if model.n_layers is None or model.n_heads is None:
        raise LabError(f"{FILE} does not give the sizes of its model")
    n_kv_heads = model.n_kv_heads or model.n_heads
    shape = ModelShape(model.name, model.n_layers, model.n_heads, n_kv_heads, 0, 0, 0, bool(model.parallel))
    return file.graph_in(shape, "the circuit")
