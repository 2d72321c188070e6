"""Models that the user has loaded."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.models.given import as_given, given_model, sha256_of_weights
from ioi_lab.models.loading import checksums_of, load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import hugging_face, model_config


@pytest.fixture
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_a_loaded_model_is_that_of_its_folder(folder, tokenizer):
    plain = hugging_face(folder)
    given, read = given_model(plain, tokenizer, name="x"), load_model(model_config(folder, name="x"))
    assert given.shape == read.shape
    ids = torch.arange(10)[None]
    assert torch.allclose(given.bridge(ids), plain(ids).logits, atol=1e-4)
    assert given.provenance["source"] == "memory"


def test_the_users_model_stays_as_it_is(folder, tokenizer):
    plain = AutoModelForCausalLM.from_pretrained(folder).train()
    names, before = [name for name, _ in plain.named_modules()], sha256_of_weights(plain)
    given_model(plain, tokenizer)
    assert plain.training
    assert all(parameter.requires_grad for parameter in plain.parameters())
    assert [name for name, _ in plain.named_modules()] == names
    assert sha256_of_weights(plain) == before


def test_the_checksum_is_that_of_names_types_shapes_and_values():
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder("tiny-gpt2"))
    checksum = sha256_of_weights(plain)
    changed = copy.deepcopy(plain)
    with torch.no_grad():
        next(changed.parameters())[0, 0] += 1e-3
    assert checksum == sha256_of_weights(copy.deepcopy(plain))
    assert len({checksum, sha256_of_weights(changed), sha256_of_weights(copy.deepcopy(plain).bfloat16())}) == 3


def test_a_config_stands_for_this_very_model():
    folder = tiny_folder("tiny-gpt2")
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    model = given_model(plain, tokenizer, prepend_bos=False)
    config = as_given(model)
    config.check()
    assert load_model(config) is model
    assert not config.prepend_bos
    assert checksums_of(config).weights == sha256_of_weights(plain)
    assert checksums_of(config).files == checksums_of(as_given(given_model(plain, tokenizer))).files


def test_a_bridge_that_has_other_weights_is_refused():
    bridge = load_model(model_config(tiny_folder("tiny-gpt2"))).bridge
    assert given_model(bridge).bridge is bridge
    bridge.compatibility_mode = True
    try:
        with pytest.raises(LabError, match="TransformerBridge in compatibility mode, whose weights are not those"):
            given_model(bridge)
    finally:
        bridge.compatibility_mode = False


def test_what_cannot_be_used_is_one_line():
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder("tiny-gpt2"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))
    with pytest.raises(LabError, match="model: got GPT2LMHeadModel without a tokenizer"):
        given_model(plain)
    with pytest.raises(LabError, match="model: got 'gpt2', expected a causal language model of Transformers"):
        given_model("gpt2", tokenizer)
    with pytest.raises(LabError, match="model: got 'gpt2' as its tokenizer"):
        given_model(plain, "gpt2")
    with pytest.raises(LabError, match="model: got a model in float64, expected one in float32, bfloat16, float16"):
        given_model(plain.double(), tokenizer)
    with pytest.raises(LabError, match="model: cannot use GPT2Model"):
        given_model(plain.float().transformer, tokenizer)
