from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.validity.evaluation import Evaluation, among_nodes, largest_nodes, nodes_in, without
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPairs


def test_the_scale_of_faithfulness_is_that_of_its_ends(evaluation, everything, right):
    values = evaluation.logit_diffs(np.stack([everything, ~everything, right]))
    assert evaluation.points(values)[:2] == pytest.approx([1, 0], abs=1e-6)
    assert evaluation.points(values)[2] > 0.9
    f = evaluation.faithfulness(values)
    assert f.value == pytest.approx(evaluation.points(values))
    assert f.low[2] <= f.value[2] <= f.high[2]


def test_nodes_are_those_on_a_path(evaluation, right):
    graph = evaluation.graph
    idle = right | graph.circuit(["input->a1.h2<q>", "m0->logits"], "test")  # one is not read, the other reads nothing
    assert [graph.writers[node].name for node in nodes_in(graph, idle)] == ["a0.h1", "a2.h3"]
    inside = {name for name, flag in zip(graph.names, among_nodes(graph, idle), strict=True) if flag}
    into = [f"->{head}<{each}>" for head in ("a0.h1", "a2.h3") for each in "qkv"]
    expected = {f"input{end}" for end in (*into, "->logits")}
    assert inside == expected | {f"a0.h1{end}" for end in (*into[3:], "->logits")} | {"a2.h3->logits"}


def test_without_removes_what_a_node_writes(evaluation, right):
    graph = evaluation.graph
    left = without(graph, right, [nodes_in(graph, right)[0]])
    assert [name for name, flag in zip(graph.names, left, strict=True) if flag] == ["input->a0.h1<v>", "a2.h3->logits"]


def test_the_largest_nodes_are_those_that_write_the_largest_scores(evaluation, right, everything, scores):
    graph = evaluation.graph
    nodes = nodes_in(graph, everything)
    assert [graph.writers[node].name for node in largest_nodes(graph, everything, scores, nodes, 2)] == [
        "a0.h1",
        "a2.h3",
    ]
    assert largest_nodes(graph, everything, scores, nodes, 99) == nodes
    assert largest_nodes(graph, right, -scores, nodes_in(graph, right), 1) == nodes_in(graph, right)[:1]


def test_prompts_that_the_model_fails_on_are_refused(engine, evaluation):
    from dataclasses import replace

    wrong = [
        replace(pair, answer_ids=pair.distractor_ids, distractor_ids=pair.answer_ids)
        for pair in list(engine.prompts)[:8]
    ]
    with pytest.raises(LabError, match="so faithfulness is not defined"):
        Evaluation.of(CircuitRunner(Engine(engine.model, PromptPairs(wrong)), evaluation.graph))
