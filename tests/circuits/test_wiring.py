"""What the readers of a model read and its writers write, as it is found out, and models that are no such sum."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.wiring import Wiring
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from tests.circuit_oracle import passed
from tests.circuits.setups import ids_of, random_circuits
from tests.conftest import ioi_task, model_config
from tests.odd_models import write_odd_model


@torch.no_grad()
def test_norms_and_projections_are_those_of_the_plain_model(setup):
    wiring, pair = setup.wiring(), setup.prompts[0]
    read = passed(setup.plain, ids_of(pair)).read
    for layer, block in enumerate(wiring.blocks):
        of_attention, of_mlp = setup.plain.norms(layer)
        stream = read[f"a{layer}.h1<k>"]
        torch.testing.assert_close(block.attention_norm(stream), of_attention(stream))
        torch.testing.assert_close(block.mlp_norm(stream), of_mlp(stream))
        for name, projection in block.projections.items():
            heads = range(setup.model.shape.heads(name))
            normed = of_attention(stream)
            expected = torch.cat([setup.plain.projected(layer, name, head, normed) for head in heads], dim=-1)
            torch.testing.assert_close(projection(normed, heads), expected, atol=1e-5, rtol=1e-4)
            of_last = projection(normed, [len(heads) - 1])
            torch.testing.assert_close(of_last, expected[..., -setup.plain.d_head :], atol=1e-5, rtol=1e-4)
        assert block.mlp_is_plain


def test_gradients_are_pulled_back_per_head(setups):
    projection = setups["llama-gqa"].wiring().blocks[0].projections["k"]
    x = torch.randn(2, 5, 32, requires_grad=True)
    gradient = torch.randn(2, 5, 2 * 8)
    for head, pulled in enumerate(projection.pulled_back(gradient)):
        of_head = gradient.unflatten(-1, (2, 8))[:, :, head]
        (expected,) = torch.autograd.grad(projection(x, [head]), x, of_head)
        torch.testing.assert_close(pulled, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_constants_are_what_no_writer_writes(setup):
    wiring, pair = setup.wiring(), setup.prompts[0]
    _, positions = setup.plain.embedded(ids_of(pair))
    torch.testing.assert_close(wiring.constant(len(pair)), positions)
    for layer, block in enumerate(wiring.blocks):
        torch.testing.assert_close(block.heads.constant, setup.plain.attention_bias(layer))


def test_heads_share_a_norm_only_where_one_follows_them(setups):
    for name, setup in setups.items():
        graph, feeds = setup.graph(), setup.wiring().feeds(setup.graph())
        if name != "gemma3":
            assert (feeds == graph.feeds).all()
            continue
        for reader, fed in zip(graph.readers, feeds, strict=True):
            found = [writer.name for writer, flag in zip(graph.writers, fed, strict=True) if flag]
            heads = [f"a{reader.layer}.h{head}" for head in range(graph.shape.n_heads)]
            assert found == ([] if reader.input == "logits" else [reader.name] if reader.head is None else heads)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("opt-post", "its blocks do more than add to the residual stream"),
        ("deepseek-v3", "a graph of edges needs q in every layer, but in deepseek-v3 it is not a component"),
        ("jamba", "a graph of edges"),
    ],
)
def test_models_that_are_no_such_sum_are_refused_in_one_line(tmp_path, name, why):
    model = load_model(model_config(write_odd_model(name, tmp_path)))
    engine = Engine(model, ioi_task(n=2).prompt_pairs(model.tokens))
    with pytest.raises(LabError, match=why) as raised:
        CircuitRunner(engine, Graph.of(model.shape))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["granite", "mixtral"])
def test_scaled_blocks_and_experts_are_sums_too(tmp_path, name):
    model = load_model(model_config(write_odd_model(name, tmp_path)))
    engine = Engine(model, ioi_task(n=2, corruption="abc").prompt_pairs(model.tokens))
    gains = [block.heads.gain for block in Wiring.of(engine).blocks]
    assert gains == pytest.approx([0.22 if name == "granite" else 1.0] * 3, abs=1e-3)
    runner = CircuitRunner(engine, Graph.of(model.shape))
    readout = runner.run(random_circuits(runner.graph, [2.0, 0.0, 0.5]), progress=False)
    assert readout.logit_diff[0] == pytest.approx(engine.baseline("clean").logit_diff[0], abs=1e-4)
    assert readout.logit_diff[1] == pytest.approx(engine.baseline("corrupted").logit_diff[0], abs=1e-4)
