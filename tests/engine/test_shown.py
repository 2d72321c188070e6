"""Which components are only shown is decided by what reads them, not by whether the logits move."""

from __future__ import annotations

import pytest
import torch
from transformers import GPTJConfig, GPTJForCausalLM

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Site
from ioi_lab.engine.passes import Passes
from ioi_lab.engine.recordings import RecordingCache
from ioi_lab.engine.shown import is_only_shown, strong_edit
from ioi_lab.models.loading import load_model
from tests.conftest import ARCHITECTURES, ioi_task, model_config
from tests.engine.helpers import components, other_model
from tests.planted import plant, prompt_pairs


def trial_of(model, prompts):
    length, rows = next(iter(prompts.buckets().items()))
    passes = Passes(model, 1.0, RecordingCache(1e9), length, pair_only=False)
    return passes, Bucket(prompts, rows, model.device)


@pytest.fixture(scope="module")
def gptj(folders, tmp_path_factory):
    """TransformerLens runs GPT-J's own attention, and shows its pattern afterwards."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4, "initializer_range": 0.2}
    plain = GPTJForCausalLM(GPTJConfig(vocab_size=1082, bos_token_id=0, eos_token_id=0, **sizes))
    return plain, *other_model(folders["tiny-gpt2"], tmp_path_factory.mktemp("gptj"), plain)


def test_of_gptj_the_pattern_alone_is_only_shown(gptj):
    model = gptj[1]
    arguments = trial_of(model, ioi_task(n=4).prompt_pairs(model.tokens))
    assert [name for name in components(model.shape) if is_only_shown(*arguments, name)] == ["pattern"]


def test_a_shown_pattern_of_heads_without_output_is_no_evidence(gptj, folders, tmp_path):
    plain = gptj[0]
    with torch.no_grad():
        for block in plain.transformer.h:
            block.attn.v_proj.weight.zero_()
    model, _ = other_model(folders["tiny-gpt2"], tmp_path, plain)
    assert not is_only_shown(*trial_of(model, ioi_task(n=4).prompt_pairs(model.tokens)), "pattern")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_that_compute_with_all_components_show_none(setups, architecture):
    model, _, prompts = setups[architecture]
    assert not any(is_only_shown(*trial_of(model, prompts), name) for name in components(model.shape))


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_heads_that_do_nothing_are_not_taken_for_shown_ones(tmp_path, noise):
    model = load_model(model_config(plant(tmp_path / "planted", noise=noise).folder))
    prompts = prompt_pairs(model.tokens, 4)
    assert not any(is_only_shown(*trial_of(model, prompts), name) for name in components(model.shape))


def test_noise_has_a_size_where_there_is_nothing(tmp_path):
    model = load_model(model_config(plant(tmp_path / "planted", noise=0).folder))
    arguments = trial_of(model, prompt_pairs(model.tokens, 2))
    site = Site("mlp_out", 0)  # its weights are 0
    activations = arguments[0].recording(arguments[1], "clean", {site}).activations
    assert float(activations[site].abs().max()) == 0
    assert float(strong_edit(*arguments, site).value.std()) == pytest.approx(4, rel=0.1)
    assert strong_edit(*arguments, Site("pattern", 0)).operation == "zero"
