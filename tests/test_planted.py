"""A planted circuit is found, and nothing else: by scores of attention, by patching and by path patching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.patch import Patch
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.lenses.head_scores import repeat_scores, repeated_tokens
from ioi_lab.models.heads import head_name
from ioi_lab.models.loading import load_model
from ioi_lab.tiny.induction import D_MODEL, N_HEADS, SIZE
from tests.conftest import hugging_face, model_config
from tests.planted import plant, prompt_pairs

CIRCUITS = {
    "first to last layer": {},
    "next layers": {"previous_token": (1, 0), "induction": (2, 0)},
    "not in the last layer": {"previous_token": (0, 3), "induction": (1, 1), "seed": 1},
    "others do nothing": {"noise": 0.0},
}


@pytest.fixture(scope="module", params=CIRCUITS)
def setup(request, tmp_path_factory):
    planted = plant(tmp_path_factory.mktemp("planted") / "network", **CIRCUITS[request.param])
    model = load_model(model_config(planted.folder))
    return planted, hugging_face(planted.folder), Engine(model, prompt_pairs(model.tokens, 16))


def found(result):
    """The names of the rows that are distinguishable from 0."""
    return {row.label for row, is_found in zip(result.rows, result.discoveries.found, strict=True) if is_found}


@torch.no_grad()
def test_the_network_predicts_what_followed_the_same_word(setup):
    _, plain, engine = setup
    for pair in engine.prompts:
        for ids, expected in ((pair.clean_tokens, pair.answer_id), (pair.corrupted_tokens, pair.distractor_id)):
            logits = plain(torch.tensor([ids])).logits[0, -1]
            best, second = logits.topk(2).values
            assert int(logits.argmax()) == expected
            assert best - second > 10


@torch.no_grad()
def test_the_network_predicts_repeated_tokens_and_nothing_before(setup):
    _, plain, engine = setup
    (sequence,) = repeated_tokens(engine.model, 1, seed=3)
    half = (len(sequence) - 1) // 2
    logits = plain(torch.tensor([sequence.clean_tokens])).logits[0]
    second = slice(half + 1, 2 * half)
    assert logits[second].argmax(-1).tolist() == list(sequence.clean_tokens[half + 2 :])
    assert float(logits[1:half].softmax(-1).max()) < 0.2


def test_attention_on_repeated_tokens_gives_exactly_the_planted_heads(setup):
    planted, _, engine = setup
    scores = {name: values.mean(axis=-1) for name, values in repeat_scores(engine, 4, seed=0).items()}
    for name, head in (("previous_token", planted.previous_token), ("induction", planted.induction)):
        assert scores[name][head] >= 0.9
        assert np.delete(scores[name].ravel(), head[0] * N_HEADS + head[1]).max() < 0.2
    assert scores["duplicate_token"].max() < 0.2


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_patching_finds_exactly_the_planted_heads(setup, direction):
    planted, _, engine = setup
    result = Patch(component="z", direction=direction).measure(engine)
    assert found(result) == planted.names
    for row, effect in zip(result.rows, result.effect.value, strict=True):
        whole = 1 if direction == "denoise" else -1
        assert effect == pytest.approx(whole if row.label in planted.names else 0, abs=0.02)


@pytest.mark.parametrize("receiver_input", ["q", "k", "v"])
def test_the_previous_token_head_reaches_the_keys_of_the_induction_head_alone(setup, receiver_input):
    planted, plain, engine = setup
    receiver = head_name(planted.induction)
    result = PathPatch(component="z", receiver_input=receiver_input, receiver=receiver).measure(engine)
    assert len(result.rows) == planted.induction[0] * N_HEADS
    assert found(result) == ({head_name(planted.previous_token)} if receiver_input == "k" else set())
    for index, row in enumerate(result.rows):
        (sender,) = row.sites
        for number in (0, 1):
            expected = path_patched(plain, engine.prompts[number], sender, planted.induction, receiver_input)
            assert result.readout.logit_diff[index, number] == pytest.approx(expected, abs=2e-3)


def test_the_induction_head_alone_reaches_the_logits(setup):
    """Others have effects of up to a thousandth through their random weights, which may be found."""
    planted, _, engine = setup
    result = PathPatch(component="z").measure(engine)
    assert head_name(planted.induction) in found(result)
    for row, effect in zip(result.rows, result.effect.value, strict=True):
        assert effect == pytest.approx(float(row.label == head_name(planted.induction)), abs=0.02)
    assert found(Patch(component="mlp_out").measure(engine)) == set()


@torch.no_grad()
def path_patched(plain, pair, sender, receiver, receiver_input) -> float:
    """The logit difference of the corrupted pass with one sender's path into one receiver patched, by plain hooks."""
    clean, corrupted = (torch.tensor([ids]) for ids in (pair.clean_tokens, pair.corrupted_tokens))
    senders, block = plain.transformer.h[sender.layer].attn, plain.transformer.h[receiver[0]]
    own = slice(sender.head * SIZE, (sender.head + 1) * SIZE)
    z_clean, z_corrupted = (input_of(plain, senders.c_proj, ids) for ids in (clean, corrupted))
    change = (z_clean - z_corrupted)[..., own] @ senders.c_proj.weight[own]
    stream = input_of(plain, block, corrupted)
    start = "qkv".index(receiver_input) * D_MODEL + receiver[1] * SIZE
    part = slice(start, start + SIZE)
    value = block.attn.c_attn(block.ln_1(stream + change))[..., part]

    def write(module, arguments, output):
        output = output.clone()
        output[..., part] = value
        return output

    with block.attn.c_attn.register_forward_hook(write):
        logits = plain(corrupted).logits[0, -1]
    return float(logits[pair.answer_id] - logits[pair.distractor_id])


def input_of(plain, module, ids) -> Tensor:
    kept = []
    with module.register_forward_pre_hook(lambda module, arguments: kept.append(arguments[0])):
        plain(ids)
    return kept[0]
