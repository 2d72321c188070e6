"""Activations against plain hooks, and added directions against the steering-vectors package."""

from __future__ import annotations

import pytest
import torch
from steering_vectors import SteeringVector

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.steering.vectors import activations_at, add_direction
from tests.conftest import hugging_face, ioi_task
from tests.oracle import activation, tokens


@pytest.mark.parametrize("position", ["all", "END"])
def test_it_equals_the_steering_vectors_package(model, folder, position):
    prompts = ioi_task(n=6).prompt_pairs(model.tokens)
    check_against_steering_vectors(Engine(model, prompts), hugging_face(folder), range(model.shape.n_layers), position)


@torch.no_grad()
def check_against_steering_vectors(engine, plain, layers, position):
    """The logits of answer and distractor with one vector added after each layer in turn, at two scales."""
    vector = 2 * torch.randn(engine.shape.d_model, generator=torch.Generator().manual_seed(0))
    directions = vector.double().numpy()[None].repeat(len(engine.prompts), axis=0)
    scales = [-1.5, 2.0]
    for layer in layers:
        readout = engine.run(add_direction(Site("resid_post", layer, None, position), directions, scales), "clean")
        assert readout.answer_logit is not None
        assert readout.distractor_logit is not None
        for row, pair in enumerate(engine.prompts):
            for index, scale in enumerate(scales):
                first = 0 if position == "all" else len(pair) - 1
                steering = SteeringVector({layer: vector}, "decoder_block")
                with steering.apply(plain, multiplier=scale, min_token_index=first):
                    logits = plain(tokens(pair, "clean")).logits[0, -1]
                got = readout.answer_logit[index, row], readout.distractor_logit[index, row]
                expected = logits[[pair.answer_id, pair.distractor_id]].tolist()
                assert list(got) == pytest.approx(expected, abs=1e-4)


def test_activations_are_those_of_the_plain_model(model, folder):
    prompts = ioi_task(n=6).prompt_pairs(model.tokens)
    sites = [Site("resid_pre", 1, None, "S2"), Site("z", 0, 1, "END"), Site("resid_post", 1, None, "all")]
    activations = activations_at(Engine(model, prompts), "corrupted", sites)
    plain = hugging_face(folder)
    width = model.shape.d_head
    for row, pair in enumerate(prompts):
        whole = [activation(plain, tokens(pair, "corrupted"), site) for site in sites]
        expected = [whole[0][pair.labels["S2"]], whole[1][-1, width : 2 * width], whole[2][-1]]
        for site, value in zip(sites, expected, strict=True):
            assert activations[site][row] == pytest.approx(value.numpy(), abs=1e-4)
