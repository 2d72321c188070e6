from __future__ import annotations

import json

import numpy as np
import pytest

from ioi_lab.circuits.files import CircuitFile, importances
from ioi_lab.errors import LabError
from ioi_lab.storage.tensors import ModelOrigin
from tests.circuits.graphs import flags, graph_of, scores

KEY = "intervention.circuit"
ORIGIN = ModelOrigin("small", "abc")
PLANTED = {"model": "planted-or", "edges": ["input->a0.h1<q>", "a0.h1->logits"], "description": "Two redundant routes."}


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("labels", [(), ("S2", "END")])
def test_a_circuit_is_read_back_as_it_was_written(tmp_path, labels):
    graph = graph_of(3, 4, 2, labels=labels)
    circuit, values = flags(graph, 0.2, 0), scores(graph, 1)
    about = {
        "method": "eap",
        "objective": "logit_diff",
        "ranking": "absolute",
        "search": "greedy",
        "nodes": "edges",
        "ablation": "corrupted",
        "size": 0.2,
        "task": {"name": "ioi", "seed": 0},
        "faithfulness": 0.9,
        "faithfulness_low": np.nan,
        "faithfulness_high": np.nan,
    }
    found = CircuitFile.of(graph, circuit, ORIGIN, values, **about)
    found.write(tmp_path / "run" / "circuit.json")
    read = CircuitFile.read(tmp_path / "run" / "circuit.json", KEY)
    assert read == found == CircuitFile.read(str(tmp_path / "run"), KEY)
    there = read.graph_in(graph.shape, KEY)
    assert there.labels == labels
    assert (read.circuit_in(there, KEY) == circuit).all()
    assert list(read.edges.values()) == values[circuit].tolist()
    assert read.faithfulness == 0.9
    assert read.faithfulness_low is None
    read.check_weights(ORIGIN, KEY)
    with pytest.raises(LabError, match=f"^{KEY}: the circuit was found in another model, small; expected other$"):
        read.check_weights(ModelOrigin("other", "x"), KEY)


def test_the_names_of_a_model_and_of_edges_are_enough(tmp_path):
    read = CircuitFile.read(written(tmp_path / "planted.json", PLANTED), KEY)
    graph = read.graph_in(graph_of().shape, KEY)
    assert read.circuit_in(graph, KEY).sum() == 2
    assert read.description == "Two redundant routes."
    read.check_weights(ORIGIN, KEY)


def test_a_name_of_a_model_cannot_break_the_line_of_an_error(tmp_path):
    content = '{"model": "a\\nb\\ud800", "edges": ["no edge\\n\\ud800"]}'
    read = CircuitFile.read(written(tmp_path / "circuit.json", content), KEY)
    with pytest.raises(LabError) as error:
        read.circuit_in(graph_of(), KEY)
    assert str(error.value).encode().splitlines() == [str(error.value).encode()]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("[" * 100_000, "is not JSON: "),
        ("\x80", "is not JSON: "),
        ("[1]", "is not the file of a circuit: Input should be a valid dictionary"),
        ({"status": "done"}, "is not the file of a circuit: model: Field required"),
        ({"model": "a"}, "is not the file of a circuit: edges: Field required"),
        ({"model": "a", "edges": []}, "edges: expected the names of edges in a list, or with a score each"),
        ({"model": "a", "edges": [1]}, "edges: expected the names of edges in a list, or with a score each"),
        ({"model": "a", "edges": {"m0->logits": "high"}}, "edges: Input should be a valid number"),
        ('{"model": "a", "edges": {"m0->logits": NaN}}', "edges: Input should be a finite number"),
        ({"model": {"name": 3}, "edges": ["m0->logits"]}, "model.name: Input should be a valid string"),
    ],
)
def test_what_is_not_a_circuit_is_refused_in_one_line(tmp_path, content, why):
    with pytest.raises(LabError) as error:
        CircuitFile.read(written(tmp_path / "circuit.json", content), KEY)
    assert str(error.value).startswith(f"{KEY}: '{tmp_path}/circuit.json' ")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_places_without_a_circuit_are_refused(tmp_path):
    with pytest.raises(LabError, match=rf"^{KEY}: '.*none.json' is not a file$"):
        CircuitFile.read(tmp_path / "none.json", KEY)
    with pytest.raises(LabError, match=rf"^{KEY}: '.*' is not a run folder"):
        CircuitFile.read(tmp_path, KEY)
    (tmp_path / "status.json").write_text("{}")
    with pytest.raises(LabError, match=rf"^{KEY}: '.*' has no circuit.json; expected a run of intervention=circuit$"):
        CircuitFile.read(tmp_path, KEY)


def test_circuits_of_other_models_are_refused(tmp_path):
    file = CircuitFile.of(graph_of(), flags(graph_of(), 0.5, 0), ORIGIN)
    with pytest.raises(LabError, match=f"^{KEY}: the circuit is of another model: n_layers is 2 in small and 3 in oth"):
        file.graph_in(graph_of(3, name="other").shape, KEY)
    planted = CircuitFile.read(written(tmp_path / "planted.json", PLANTED), KEY)
    other = planted.graph_in(graph_of(1, 1, name="other").shape, KEY)
    with pytest.raises(LabError, match=f"^{KEY}: in the circuit of planted-or: got 'input->a0.h1<q>', but other has"):
        planted.circuit_in(other, KEY)


def test_importances_have_the_form_of_mib():
    graph = graph_of()
    circuit = graph.circuit(["input->a0.h1<q>", "a0.h1->logits"], "edges")
    values = scores(graph, 0)
    content = json.loads(json.dumps(importances(graph, values, circuit)))
    assert content["cfg"] == {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8}
    assert list(content["nodes"]) == ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1", "logits"]
    assert [name for name, node in content["nodes"].items() if node["in_graph"]] == ["input", "a0.h1", "logits"]
    assert {name: edge["score"] for name, edge in content["edges"].items()} == dict(
        zip(graph.names, values, strict=True)
    )
    assert [name for name, edge in content["edges"].items() if edge["in_graph"]] == ["input->a0.h1<q>", "a0.h1->logits"]


def test_importances_have_every_query_head_and_no_positions():
    whole = graph_of(2, 4)
    graph = graph_of(2, 4, 2, labels=("END",))
    values = scores(graph, 0)
    content = importances(graph, values, graph.circuit(["input->a0.h1<k>@END"], "edges"))
    assert set(content["edges"]) == set(whole.names)
    assert sum(edge["score"] for edge in content["edges"].values()) == pytest.approx(values.sum())
    kept = [name for name, edge in content["edges"].items() if edge["in_graph"]]
    assert kept == ["input->a0.h2<k>", "input->a0.h3<k>"]
