"""The pass in which only some edges carry the prompt, against hooks by hand on the plain Hugging Face network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.runner import run_circuits
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.induction import InductionTask
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tiny import HAND_SET, tiny_folder, true_edges
from ioi_lab.tiny.folders import load
from ioi_lab.tiny.ioi_batches import IOISampler
from ioi_lab.tiny.masked import circuit_logits, edges_of, plain_outputs
from tests.conftest import model_config


@pytest.fixture(scope="module")
def passes(untrained, tokenizer):
    batch = IOISampler(tokenizer, seed=0).batch(32)
    with torch.no_grad():
        return untrained, batch, plain_outputs(untrained, batch.counterfactual)


@torch.no_grad()
def plain(network, tokens, batch):
    return network(tokens).logits[torch.arange(len(tokens)), batch.end]


@torch.no_grad()
def masked(passes, edges):
    network, batch, counterfactual = passes
    return circuit_logits(network, batch.tokens, edges, counterfactual, batch.end)


def test_all_edges_give_the_clean_logits_and_none_the_counterfactual_ones(passes):
    network, batch, _ = passes
    torch.testing.assert_close(masked(passes, edges_of(network)), plain(network, batch.tokens, batch))
    torch.testing.assert_close(masked(passes, []), plain(network, batch.counterfactual, batch))


def test_edges_are_those_of_the_graph_of_the_lab():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    assert sorted(edges_of(model.bridge.original_model)) == sorted(Graph.of(model.shape).names)


def test_outputs_and_biases_sum_to_the_stream(passes):
    network, batch, counterfactual = passes
    kept = []
    with network.transformer.ln_f.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0])):
        network(batch.counterfactual)
    biases = sum(block.attn.c_proj.bias for block in network.transformer.h)
    fixed = network.transformer.wpe.weight[: batch.tokens.shape[1]] + biases
    torch.testing.assert_close(kept[0], sum(counterfactual.values()) + fixed)


@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_one_missing_edge_is_an_edit_of_one_heads_input(passes, kind):
    """All edges but `a0.h1->a2.h3<kind>`, by a hook on the joint projection of layer 2."""
    network, batch, counterfactual = passes
    with torch.no_grad():
        change = counterfactual["a0.h1"] - plain_outputs(network, batch.tokens)["a0.h1"]
    block, streams = network.transformer.h[2], []
    own = slice("qkv".index(kind) * 64 + 3 * 16, "qkv".index(kind) * 64 + 4 * 16)

    def edit(module, inputs, output):
        output = output.clone()
        edited = block.ln_1(streams[0] + change) @ module.weight + module.bias
        output[..., own] = edited[..., own]
        return output

    with (
        block.ln_1.register_forward_pre_hook(lambda module, inputs: streams.append(inputs[0])),
        block.attn.c_attn.register_forward_hook(edit),
    ):
        expected = plain(network, batch.tokens, batch)
    edge = f"a0.h1->a2.h3<{kind}>"
    found = masked(passes, set(edges_of(network)) - {edge})
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - plain(network, batch.tokens, batch)).abs().max() > 1e-2


def test_one_live_edge_is_an_edit_of_the_counterfactual_pass(passes):
    """`m0->logits` alone changes nothing, as the MLP itself reads nothing of the prompt; with its input it does."""
    network, batch, counterfactual = passes
    nothing = masked(passes, [])
    torch.testing.assert_close(masked(passes, ["m0->logits"]), nothing)
    with torch.no_grad():
        clean = plain_outputs(network, batch.tokens)
        block, rows = network.transformer.h[0], torch.arange(len(batch.tokens))
        fixed = network.transformer.wpe.weight[: batch.tokens.shape[1]] + block.attn.c_proj.bias
        heads = sum(counterfactual[f"a0.h{head}"] for head in range(4))
        written = block.mlp(block.ln_2(clean["input"] + heads + fixed))
        kept = []
        with network.transformer.ln_f.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0])):
            network(batch.counterfactual)
        stream = kept[0] + written - counterfactual["m0"]
        expected = network.lm_head(network.transformer.ln_f(stream[rows, batch.end]))
    torch.testing.assert_close(masked(passes, ["input->m0", "m0->logits"]), expected)


def test_gradients_reach_circuit_and_counterfactual(passes):
    network, batch, _ = passes
    outputs = plain_outputs(network, batch.counterfactual)
    logits = circuit_logits(network, batch.tokens, ["input->a0.h1<v>", "a0.h1->logits"], outputs, batch.end)
    logits.square().sum().backward()
    assert network.transformer.h[0].attn.c_attn.weight.grad.abs().sum() > 0
    assert network.transformer.h[2].mlp.c_fc.weight.grad.abs().sum() > 0
    network.zero_grad()


@torch.no_grad()
@pytest.mark.parametrize("name", ["planted-backup", "planted-induction"])
def test_circuits_of_the_lab_agree(name):
    """Random circuits of several densities, and the planted one, on prompts of one length."""
    model = load_model(model_config(tiny_folder(name)))
    graph = Graph.of(model.shape)
    task = InductionTask(n=4) if name == HAND_SET else IOITask(n=4, template=3, corruption="abc")
    prompts = task.prompt_pairs(model.tokens)
    rng = np.random.default_rng(0)
    circuits = rng.random((8, graph.n_edges)) < rng.choice([0.3, 0.6, 0.9, 0.97], (8, 1))
    circuits = np.concatenate([circuits, graph.circuit(true_edges(tiny_folder(name)), "circuit.json")[None]])
    found = run_circuits(Engine(model, prompts), graph, circuits).logit_diff

    network, _ = load(tiny_folder(name))
    clean, corrupted = (
        torch.tensor([getattr(pair, f"{which}_tokens") for pair in prompts]) for which in ("clean", "corrupted")
    )
    counterfactual, rows = plain_outputs(network.eval(), corrupted), torch.arange(len(prompts))
    for kept, differences in zip(circuits, found, strict=True):
        edges = [graph.names[edge] for edge in np.flatnonzero(kept)]
        logits = circuit_logits(network, clean, edges, counterfactual)
        answers, distractors = ([getattr(p, f"{which}_id") for p in prompts] for which in ("answer", "distractor"))
        expected = logits[rows, answers] - logits[rows, distractors]
        np.testing.assert_allclose(differences, expected.numpy(), atol=2e-3)
