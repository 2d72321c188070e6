"""Exact effects of single edges: the whole model without one edge, by edits of what the reader makes of its input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from jaxtyping import Float
from torch import Tensor

from ioi_lab.circuits.graph import Reader
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.engine.edits import Edit, EditSet, Site

if TYPE_CHECKING:
    from ioi_lab.models.shape import Component
    from ioi_lab.tasks.prompts import Position

_SHARE: Final = 0.1
"""The share of the memory bound that the edits of one chunk of edges may take."""


def edge_chunks(runner: CircuitRunner, edges: Sequence[int]) -> Iterator[list[int]]:
    """Yield the edges in chunks that `edge_edits` takes: into one block or the logits, and as many as memory allows."""
    graph, engine = runner.graph, runner.engine
    by_layer: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for edge in edges:
        by_layer[graph.readers[graph.edge_reader[edge]].layer][int(graph.edge_writer[edge])].append(edge)
    of_a_block = graph.shape.d_model + (graph.shape.n_heads + 2 * graph.shape.n_kv_heads) * graph.shape.d_head
    bytes_per_writer = 8.0 * len(engine.prompts) * engine.prompts.longest * of_a_block * graph.n_labels
    most = max(1, int(_SHARE * engine.budget.bound / bytes_per_writer))
    for _, by_writer in sorted(by_layer.items()):
        writers = sorted(by_writer)
        for first in range(0, len(writers), most):
            yield [edge for writer in writers[first : first + most] for edge in by_writer[writer]]


def edge_edits(runner: CircuitRunner, edges: Sequence[int]) -> list[EditSet]:
    """Return, for each edge, the edits of the clean pass that ablate it; all edges lead into one block or the logits.

    An edge into a head's query, key or value changes that query, key or value alone, one into an MLP what it writes,
    one into the logits the last residual stream at END.
    """
    graph, engine = runner.graph, runner.engine
    writers = sorted({int(graph.edge_writer[edge]) for edge in edges})
    changes = dict(zip(writers, runner.changes(writers), strict=True))
    alike: dict[tuple[Site, int], list[int]] = defaultdict(list)
    for edge in edges:
        reader, label = graph.readers[graph.edge_reader[edge]], graph.position(int(graph.edge_label[edge]))
        alike[_stream(runner, reader, label), int(graph.edge_writer[edge])].append(edge)
    edits: dict[int, EditSet] = {}
    by_component: dict[Component, list[tuple[Site, int]]] = defaultdict(list)
    for stream, writer in alike:
        by_component[stream.component].append((stream, writer))
    for component, streams in by_component.items():
        added = [[Edit(stream, "add", changes[writer], scale=-1.0)] for stream, writer in streams]
        if component == "resid_post":  # read by the logits
            for key, edit_set in zip(streams, added, strict=True):
                edits |= dict.fromkeys(alike[key], edit_set)
            continue
        sites = {edge: _received(graph.readers[graph.edge_reader[edge]]) for key in streams for edge in alike[key]}
        wholes = list(dict.fromkeys(site.whole for site in sites.values()))
        captured = engine.capture(added, "clean", wholes)
        for row, key in enumerate(streams):
            for edge in alike[key]:
                received = _of_head(captured[sites[edge].whole][row], sites[edge], runner)
                edits[edge] = [Edit(sites[edge], "replace", received)]
    return [edits[edge] for edge in edges]


def _stream(runner: CircuitRunner, reader: Reader, position: Position) -> Site:
    """Return the residual stream that a reader reads, at a position."""
    if reader.input == "logits":
        return Site("resid_post", reader.layer - 1, None, position)
    is_middle = reader.input == "mlp" and not runner.graph.shape.parallel
    return Site("resid_mid" if is_middle else "resid_pre", reader.layer, None, position)


def _received(reader: Reader) -> Site:
    """Return the site of what a reader makes of its input."""
    if reader.input == "q" or reader.input == "k" or reader.input == "v":
        return Site(reader.input, reader.layer, reader.head)
    return Site("mlp_out", reader.layer)


def _of_head(whole: Float[Tensor, "prompt pos width"], site: Site, runner: CircuitRunner) -> Tensor:
    if site.head is None:
        return whole
    by_head: Tensor = whole.unflatten(-1, (runner.graph.shape.heads(site.component), -1))
    return by_head[:, :, site.head]
