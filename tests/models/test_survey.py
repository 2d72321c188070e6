"""The components that the layers of a model have, and what is no causal model."""

from __future__ import annotations

import pytest
from transformers import BertConfig, BertForMaskedLM

from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.models.shape import COMPONENTS
from ioi_lab.models.survey import hook_name
from tests.conftest import model_config
from tests.odd_models import SIZES, tokenizer, write_odd_model


def test_names_are_those_of_transformer_lens():
    assert hook_name("z", 3) == "blocks.3.attn.hook_z"
    assert hook_name("resid_mid", 0) == "blocks.0.hook_resid_mid"


def test_usual_models_have_all_components_in_all_layers(model):
    expected = {"resid_mid"} if model.shape.parallel else set()
    assert {component for component in COMPONENTS if not model.shape.layers(component)} == expected
    assert all(len(model.shape.layers(component)) == model.shape.n_layers for component in set(COMPONENTS) - expected)
    assert not model.blocks_return_tuples


def test_components_of_odd_models(tmp_path):
    hybrid = load_model(model_config(write_odd_model("jamba", tmp_path)))
    assert hybrid.shape.layers("z") == hybrid.shape.layers("attn_out") == [1, 3]
    assert hybrid.shape.layers("resid_mid") == hybrid.shape.layers("mlp_out") == [0, 1, 2, 3]
    latent = load_model(model_config(write_odd_model("deepseek-v3", tmp_path))).shape
    assert [name for name in COMPONENTS if not latent.layers(name)] == ["q", "k", "v", "z"]
    assert load_model(model_config(write_odd_model("gptj", tmp_path))).blocks_return_tuples
    gpt1 = load_model(model_config(write_odd_model("openai-gpt", tmp_path)))
    assert gpt1.shape.layers("resid_post") == [0, 1, 2]


def test_an_encoder_is_not_a_causal_model(tmp_path):
    line = r"^model\.path: .* is not a causal language model: what it predicts depends on later tokens"
    with pytest.raises(LabError, match=line):
        load_model(model_config(write_odd_model("bert-decoder", tmp_path, is_decoder=False)))
    BertForMaskedLM(BertConfig(**SIZES, vocab_size=len(tokenizer()))).save_pretrained(tmp_path / "encoder")
    tokenizer().save_pretrained(tmp_path / "encoder")
    with pytest.raises(LabError, match=line):
        load_model(model_config(tmp_path / "encoder"))
