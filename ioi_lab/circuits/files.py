"""Files of circuits: `circuit.json`, which one run writes and others read, and `importances.json` as MIB has it.

A circuit file may be anybody's: the names of a model and of edges are enough, and what else is in it is checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.selection import nodes_of
from ioi_lab.errors import LabError, folded
from ioi_lab.models.selectors import Cell
from ioi_lab.models.shape import HEAD_COMPONENTS, Component, ModelShape
from ioi_lab.runs.finding import LATEST, find_run
from ioi_lab.stats.metrics import Array
from ioi_lab.storage.files import read_user_file, write_json
from ioi_lab.storage.tensors import Metadata, ModelOrigin, TensorKind

FILE: Final = "circuit.json"
"""The name of the circuit's file in a run folder."""

EDGE_SCORES: Final = TensorKind("edge scores of prompts", Metadata)
"""Files of `scores` `[prompt, edge]` of one method, in the order of `Graph.names`, with the indices of `prompts`."""

_MAX_MB: Final = 50
_MAX_QUOTED: Final = 200


class ModelOfCircuit(BaseModel):
    """The model that a circuit was found in; the sizes are None if the file does not tell them."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    name: str
    weights_sha256: str | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    parallel: bool | None = None


def _with_fields(model: Any) -> Any:
    return {"name": model} if isinstance(model, str) else model


def _with_scores(edges: Any) -> Any:
    if isinstance(edges, list) and all(isinstance(name, str) for name in edges):
        edges = dict.fromkeys(edges)
    if not isinstance(edges, dict) or not edges:
        raise ValueError("expected the names of edges in a list, or with a score each")
    return edges


class CircuitFile(BaseModel):
    """A circuit by the names of its edges, with where it comes from."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, protected_namespaces=())

    model: Annotated[ModelOfCircuit, BeforeValidator(_with_fields)]
    edges: Annotated[dict[str, float | None], BeforeValidator(_with_scores)]
    """The score of each edge; None if it has none."""

    description: str = ""
    labels: tuple[str, ...] = ()
    """The position labels for each of which there is an edge."""

    method: str | None = None
    """What the scores are: `exact`, `eap`, …"""

    objective: str | None = None
    ranking: str | None = None
    search: str | None = None
    nodes: str | None = None
    ablation: str | None = None
    """What the edges outside of the circuit are replaced by: `corrupted`, `mean` or `zero`."""

    size: float | None = None
    """The size that was asked for: a share of all edges, or a number above 1."""

    task: dict[str, Any] = Field(default_factory=dict)
    """The config of the task in whose prompts it was found."""

    faithfulness: float | None = None
    faithfulness_low: float | None = None
    faithfulness_high: float | None = None

    @classmethod
    def of(
        cls,
        graph: Graph,
        circuit: Bool[Flags, "edge"],
        origin: ModelOrigin,
        scores: Float[Array, "edge"] | None = None,
        **about: Any,
    ) -> Self:
        """Return the file of a circuit; `about`: further fields. Numbers that are not finite are left out."""
        shape, names = graph.shape, graph.names
        model = ModelOfCircuit(
            name=origin.name,
            weights_sha256=origin.weights_sha256,
            n_layers=shape.n_layers,
            n_heads=shape.n_heads,
            n_kv_heads=shape.n_kv_heads,
            parallel=shape.parallel,
        )
        kept = np.flatnonzero(circuit).tolist()
        edges = {names[edge]: None if scores is None else _finite(float(scores[edge])) for edge in kept}
        about = {name: _finite(value) for name, value in about.items()}
        return cls(model=model, edges=edges, labels=graph.labels, **about)

    def write(self, path: Path) -> None:
        """Write the file."""
        write_json(path, self.model_dump())

    @classmethod
    def read(cls, place: str | Path, key: str) -> Self:
        """Return the circuit in a file, in a run folder, or in the latest run of a folder with runs.

        Raises a `LabError` that begins with `key` for a place without a circuit, and for a damaged file.
        """
        path = _file_at(place, key)
        content = read_user_file(path, key, max_mb=_MAX_MB)
        try:
            return cls.model_validate(json.loads(content))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"] if str(part).isidentifier())
            why = first["msg"].removeprefix("Value error, ")
            raise _refusal(path, key, f"is not the file of a circuit: {field}{': ' * bool(field)}{why}") from error
        except (ValueError, RecursionError) as error:
            raise _refusal(path, key, f"is not JSON: {folded(error)}") from error

    def graph_in(self, shape: ModelShape, key: str) -> Graph:
        """Return the graph of a model, with the labels of the file.

        Raises a `LabError` that begins with `key` unless the model has the sizes of that of the file. Its weights may
        be others: see `check_weights`.
        """
        for size in ("n_layers", "n_heads", "n_kv_heads", "parallel"):
            found, expected = getattr(self.model, size), getattr(shape, size)
            if found not in (None, expected):
                raise LabError(
                    f"{key}: the circuit is of another model: {size} is {found} in {self._model_name} and {expected} "
                    f"in {shape.name}"
                )
        return Graph.of(shape, self.labels)

    def circuit_in(self, graph: Graph, key: str) -> Bool[Flags, "edge"]:
        """Return the circuit in a graph; raises a `LabError` that begins with `key` for an edge that is not there."""
        return graph.circuit(self.edges, f"{key}: in the circuit of {self._model_name}")

    def check_weights(self, origin: ModelOrigin, key: str) -> None:
        """Raise a `LabError` that begins with `key` unless the circuit was found in the model with these weights."""
        if self.model.weights_sha256 not in (None, origin.weights_sha256):
            raise LabError(f"{key}: the circuit was found in another model, {self._model_name}; expected {origin.name}")

    @property
    def _model_name(self) -> str:
        """The name in one line of printable text: the file may be anybody's."""
        return " ".join(self.model.name[:_MAX_QUOTED].encode(errors="replace").decode().split())


def cells_of_circuit(place: str | Path, component: Component, shape: ModelShape, key: str) -> list[Cell]:
    """Return the layers and heads of a component that are in a circuit, in the order of the model.

    Args:
        place: The circuit's file, or a folder with one: see `CircuitFile.read`.
        component: A component of heads, or `mlp_out`, for the MLPs of the circuit.
        shape: The sizes of the model.
        key: The config key that errors name.

    Raises a `LabError` for a circuit of another model, one without such heads or MLPs, and other components.

    """
    if component not in HEAD_COMPONENTS and component != "mlp_out":
        raise LabError(f"{key}: circuits have heads and MLPs, but component={component}; expected z or mlp_out")
    file = CircuitFile.read(place, key)
    graph = file.graph_in(shape, key)
    nodes = nodes_of(graph, file.circuit_in(graph, key))
    if component == "mlp_out":
        cells: list[Cell] = [(node.layer, None) for node in nodes if node.head is None]
    else:
        shared = shape.n_heads // shape.heads(component)
        cells = [(node.layer, node.head // shared) for node in nodes if node.head is not None]
    if not cells:
        what = "MLPs" if component == "mlp_out" else "heads"
        raise LabError(f"{key}: the circuit of {file._model_name} has no {what}")
    return list(dict.fromkeys(cells))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _file_at(place: str | Path, key: str) -> Path:
    """Return the file of a circuit that a user means."""
    path = Path(os.path.expanduser(place))
    if not (path.is_dir() or (str(place) == LATEST and not path.exists())):
        return path
    file = path / FILE
    if not file.exists():
        file = find_run(place, key) / FILE
    if not file.exists():
        raise LabError(f"{key}: {str(place)!r} has no {FILE}; expected a run of intervention=circuit")
    return file


def _refusal(path: Path, key: str, why: str) -> LabError:
    why = " ".join(why.split())
    return LabError(f"{key}: {str(path)!r} {why if len(why) <= _MAX_QUOTED else why[:_MAX_QUOTED] + '…'}")


def importances(graph: Graph, scores: Float[Array, "edge"], circuit: Bool[Flags, "edge"]) -> Mapping[str, Any]:
    """Return the scores of all edges and which of them are in a circuit, in the form of MIB's `importances.json`.

    That form knows neither positions nor shared keys and values. Scores are therefore summed over labels, and that of
    an edge into a key/value head is divided evenly among its query heads.
    """
    shape = graph.shape
    cfg = {
        "n_layers": shape.n_layers,
        "n_heads": shape.n_heads,
        "parallel_attn_mlp": shape.parallel,
        "d_model": shape.d_model,
    }
    per_label = graph.n_edges // graph.n_labels
    score = scores.reshape(-1, per_label).sum(axis=0).tolist()
    in_graph = np.any(circuit.reshape(-1, per_label), axis=0).tolist()
    shared = shape.n_heads // shape.n_kv_heads
    edges: dict[str, dict[str, Any]] = {}
    for edge, (writer, reader) in enumerate(
        zip(graph.edge_writer[:per_label].tolist(), graph.edge_reader[:per_label].tolist(), strict=True)
    ):
        to = graph.readers[reader]
        names = [to.name]
        if to.input in ("k", "v") and to.head is not None:
            heads = range(to.head * shared, (to.head + 1) * shared)
            names = [f"a{to.layer}.h{head}<{to.input}>" for head in heads]
        for name in names:
            edge_name = f"{graph.writers[writer].name}->{name}"
            edges[edge_name] = {"score": score[edge] / len(names), "in_graph": in_graph[edge]}
    kept = {node.name for node in nodes_of(graph, circuit)} | {"input", "logits"}
    nodes = {name: {"in_graph": name in kept} for name in [*(writer.name for writer in graph.writers), "logits"]}
    return {"cfg": cfg, "nodes": nodes, "edges": edges}
