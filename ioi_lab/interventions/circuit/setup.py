"""What a search for circuits starts from: the graph, the settings, and the two parts of the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from jaxtyping import Bool

from ioi_lab.circuits.finding import SearchSettings
from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.selection import edge_counts, edges_at, mib_sizes
from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit.result import Split
from ioi_lab.models.heads import heads_of
from ioi_lab.models.selectors import head_names_in, indices_of
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.splits import split_by_names

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.circuit.keys import CircuitKeys, Only


def graph_of(engine: Engine, keys: CircuitKeys) -> Graph:
    """Return the graph of the engine's model, with the labels of its prompts if edges are distinguished by position.

    Raises a `LabError` if the prompts have no labels but END, or two labels at one token.
    """
    if keys.positions == "all":
        return Graph.of(engine.shape)
    labels = engine.prompts.labels()
    if set(labels) <= {"BOS", "END"}:
        raise LabError(
            "intervention.positions: got 'labels', but the prompts have no labels of their own; expected all"
        )
    for pair in engine.prompts:
        places = [pair.labels[label] for label in labels]
        if len(set(places)) < len(places):
            raise LabError(
                f"intervention.positions: got 'labels', but two of {', '.join(labels)} are the same token of "
                f"{pair.clean!r}; expected all"
            )
    return Graph.of(engine.shape, labels)


def search_settings(engine: Engine, graph: Graph, keys: CircuitKeys) -> SearchSettings:
    """Return how circuits are chosen; raises a `LabError` for sizes, layers or heads that the model does not have."""
    varied = _varied(graph, keys.only)
    settings = SearchSettings(
        keys.search,
        keys.ranking,
        keys.nodes,
        keys.sizes,
        keys.threshold,
        keys.tau,
        keys.objective,
        keys.orders,
        keys.seed,
        varied,
    )
    n_edges = settings.n_varied(graph)
    edge_counts(n_edges, keys.sizes or [])
    if keys.size != "auto":
        edge_counts(n_edges, [keys.size], "intervention.size")
        settings = replace(settings, sizes=[*(keys.sizes or mib_sizes(n_edges)), keys.size])
    return settings


def _varied(graph: Graph, only: Only) -> Bool[Flags, "edge"] | None:
    """Return the edges of the selected layers and heads; None if all are selected."""
    if only.layer == "all" and only.head == "all":
        return None
    shape = graph.shape
    layers = indices_of(only.layer, shape.n_layers)
    for layer in layers:
        shape.check_layer(layer, "intervention.only.layer")
    if only.head == "all":
        return edges_at(graph, None, layers)
    if names := head_names_in(only.head):
        return edges_at(graph, heads_of(names, shape, "z", "intervention.only.head"), layers)
    heads = indices_of(only.head, shape.n_heads)
    for head in heads:
        shape.check_head("z", head, "intervention.only.head")
    return edges_at(graph, list(product(layers, heads)), layers)


def runners_of(engine: Engine, graph: Graph, keys: CircuitKeys) -> tuple[CircuitRunner, CircuitRunner, Split]:
    """Return the runners on the prompts of discovery and of evaluation: the same one if these are all prompts."""
    on_discovery, on_evaluation, split = split_of(engine, keys)
    discovery = CircuitRunner(on_discovery, graph, keys.ablation, keys.seed)
    if on_evaluation is on_discovery:
        return discovery, discovery, split
    return discovery, CircuitRunner(on_evaluation, graph, keys.ablation, keys.seed), split


def split_of(engine: Engine, keys: CircuitKeys) -> tuple[Engine, Engine, Split]:
    """Return the engines on the prompts of discovery and of evaluation."""
    if keys.eval_share == 0:
        rows = list(range(len(engine.prompts)))
        return engine, engine, Split(rows, rows, 0, are_apart=False)
    discovery, evaluation = split_by_names(engine.prompts, keys.eval_share, keys.seed)
    unused = len(engine.prompts) - len(discovery) - len(evaluation)
    first, second = (_on(engine, rows) for rows in (discovery, evaluation))
    return first, second, Split(discovery, evaluation, unused, are_apart=True)


def _on(engine: Engine, rows: Sequence[int]) -> Engine:
    return engine.on(PromptPairs([engine.prompts[row] for row in rows]))
