"""The whole model without one edge, as edits: equal to passes and hooks by hand on plain models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.circuits.edge_effects import edge_chunks, edge_edits
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from tests.circuits.setups import ids_of
from tests.oracle import activation, changed, tokens


def logit_diffs(runner, edges):
    """The logit differences `[edge, prompt]` without each edge."""
    found = np.empty((len(edges), len(runner.engine.prompts)))
    rows = {edge: row for row, edge in enumerate(edges)}
    for chunk in edge_chunks(runner, edges):
        readout = runner.engine.run(edge_edits(runner, chunk), "clean", progress=False)
        found[[rows[edge] for edge in chunk]] = readout.logit_diff
    return found


def sample(graph, count, seed=0):
    """Edges into readers of each kind."""
    rng = np.random.default_rng(seed)
    kinds = np.array([reader.input for reader in graph.readers])[graph.edge_reader]
    return [
        int(edge)
        for kind in ("q", "k", "v", "mlp", "logits")
        for edge in rng.choice(np.flatnonzero(kinds == kind), count, replace=False)
    ]


def by_hand(setup, graph, edge, row):
    circuit = np.arange(graph.n_edges) != edge
    logits = setup.logits(row, setup.keeps(graph, circuit, row))
    pair = setup.prompts[row]
    return float(logits[pair.answer_id] - logits[pair.distractor_id])


@pytest.mark.parametrize("labels", [(), ("S2", "END")])
def test_edits_are_the_model_without_one_edge(setup, labels):
    runner = setup.runner(labels)
    edges = sample(runner.graph, 2)
    found = logit_diffs(runner, edges)
    assert np.abs(found - setup.engine.baseline("clean").logit_diff).max() > 0.01
    for index, edge in enumerate(edges):
        row = index % len(setup.prompts)
        expected = by_hand(setup, runner.graph, edge, row)
        assert found[index, row] == pytest.approx(expected, abs=3e-5), runner.graph.names[edge]


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_edits_carry_what_the_ablation_says(setups, ablation):
    setup = setups["llama-gqa"]
    runner = setup.runner((), ablation)
    edges = sample(runner.graph, 2)
    circuits = np.arange(runner.graph.n_edges) != np.array(edges)[:, None]
    expected = runner.run(circuits, progress=False).logit_diff
    assert logit_diffs(runner, edges) == pytest.approx(expected, abs=3e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    ["a0.h1->a2.h3<q>", "m1->a2.h0<k>", "input->a1.h2<v>", "a1.h0->m1", "m0->m3", "a3.h2->logits", "m2->logits"],
)
def test_an_edge_equals_a_hook_on_the_plain_model(setups, name):
    setup = setups["tiny-gpt2"]
    model, pair = setup.plain.model, setup.prompts[1]
    writer, reader = name.split("->")
    if writer == "input":
        clean, corrupted = (model.transformer.wte(ids_of(pair, which)) for which in ("clean", "corrupted"))
    elif writer[0] == "m":
        site = Site("mlp_out", int(writer[1]))
        clean, corrupted = (activation(model, tokens(pair, which), site) for which in ("clean", "corrupted"))
    else:
        layer, of_head = int(writer[1]), slice(32 * int(writer[4]), 32 * (int(writer[4]) + 1))
        weight = model.transformer.h[layer].attn.c_proj.weight[of_head]
        z = (activation(model, tokens(pair, which), Site("z", layer)) for which in ("clean", "corrupted"))
        clean, corrupted = (each[:, of_head] @ weight for each in z)
    if reader == "logits":
        handle = model.transformer.ln_f.register_forward_pre_hook(lambda _, given: given[0] - (clean - corrupted))
    elif reader[0] == "m":
        block = model.transformer.h[int(reader[1])]
        before = activation(model, tokens(pair, "clean"), Site("resid_mid", int(reader[1])))
        read = block.ln_2(before - clean + corrupted)[None]
        handle = block.mlp.register_forward_pre_hook(lambda *_: read)
    else:
        layer, kind = int(reader[1]), reader[-2]
        block, of_head = model.transformer.h[layer], slice(32 * int(reader[4]), 32 * (int(reader[4]) + 1))
        before = activation(model, tokens(pair, "clean"), Site("resid_pre", layer))
        made = block.attn.c_attn(block.ln_1(before - clean + corrupted)).chunk(3, dim=-1)["qkv".index(kind)]

        def instead(x):
            x = x.clone()
            x[:, of_head] = made[:, of_head]
            return x

        handle = changed(model, Site(kind, layer), instead)
    with handle:
        logits = model(tokens(pair, "clean")).logits[0, -1]
    runner = setup.runner()
    (found,) = logit_diffs(runner, [runner.graph.names.index(name)])
    assert found[1] == pytest.approx(float(logits[pair.answer_id] - logits[pair.distractor_id]), abs=3e-5)


def test_chunks_have_each_edge_once_and_lead_into_one_layer(setups):
    setup = setups["tiny-gpt2"]
    edges = list(range(0, 479, 2))
    counts = []
    for bound in (1.0, 0.01):
        runner = CircuitRunner(Engine(setup.model, setup.prompts, bound), setup.graph())
        chunks = list(edge_chunks(runner, edges))
        assert sorted(edge for chunk in chunks for edge in chunk) == edges
        readers = runner.graph.edge_reader
        assert all(len({runner.graph.readers[readers[edge]].layer for edge in chunk}) == 1 for chunk in chunks)
        counts.append(len(chunks))
    assert counts[0] == 5
    assert counts[1] > counts[0]
