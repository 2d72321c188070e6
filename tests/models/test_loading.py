"""Models as they are loaded: the numbers of Hugging Face, and one line for what cannot be loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.models.loading import checksums_of, load_model, model_folder
from ioi_lab.storage.files import sha256_of_files
from ioi_lab.tiny import tiny_folder
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


@pytest.fixture
def copy_of_gpt2(tmp_path, random_folders):
    return Path(shutil.copytree(random_folders["gpt2"], tmp_path / "copy"))


def test_weights_that_do_not_fill_the_model_are_reported(copy_of_gpt2):
    weights = load_file(copy_of_gpt2 / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, copy_of_gpt2 / "model.safetensors", {"format": "pt"})
    with pytest.raises(LabError, match=r"lack 1 tensors, first 'transformer\.h\.1\.mlp\.c_fc\.weight'"):
        load_model(model_config(copy_of_gpt2))


def test_weights_that_the_model_leaves_out_are_reported(copy_of_gpt2, caplog):
    config = json.loads((copy_of_gpt2 / "config.json").read_text())
    (copy_of_gpt2 / "config.json").write_text(json.dumps(config | {"n_layer": 1}))
    load_model(model_config(copy_of_gpt2))
    assert "have no place in the model, first transformer.h.1" in caplog.text


def test_a_folder_runs_no_code_of_its_own(copy_of_gpt2, tmp_path):
    canary = tmp_path / "ran"
    (copy_of_gpt2 / "evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    config = json.loads((copy_of_gpt2 / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (copy_of_gpt2 / "config.json").write_text(json.dumps(config))
    with pytest.raises(LabError, match=r"model\.path: cannot load"):
        load_model(model_config(copy_of_gpt2))
    assert not canary.exists()


def test_a_tokenizer_without_bos_is_reported_and_can_be_used_without(copy_of_gpt2):
    tokenizer_config = json.loads((copy_of_gpt2 / "tokenizer_config.json").read_text())
    del tokenizer_config["bos_token"]
    (copy_of_gpt2 / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    with pytest.raises(LabError, match=r"model\.prepend_bos: got True, but this tokenizer has no BOS"):
        load_model(model_config(copy_of_gpt2))
    model = load_model(model_config(copy_of_gpt2, prepend_bos=False))
    assert model.tokens.encode("") == ()


def test_a_revision_is_for_the_hub(tmp_path):
    with pytest.raises(LabError, match=r"model\.revision: got 'v1', .*expected null|only models from the hub"):
        model_config(tmp_path, revision="v1").check()


def test_an_architecture_that_cannot_be_loaded_is_reported(tmp_path, random_folders):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    AutoTokenizer.from_pretrained(random_folders["gpt2"]).save_pretrained(tmp_path)
    with pytest.raises(LabError, match=r"model\.path: cannot load .* as a causal language model") as caught:
        load_model(model_config(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_checksum_needs_no_loading_and_equals_that_of_the_file(random_folders):
    config = model_config(random_folders["gpt2"])
    assert checksums_of(config).weights == sha256_of_files([random_folders["gpt2"] / "model.safetensors"])
    assert checksums_of(config).weights == load_model(config).weights_sha256


def test_packaged_models_are_found_by_name():
    config = model_config("tiny-pythia", source="tiny")
    config.check()
    assert model_folder(config) == tiny_folder("tiny-pythia")
    with pytest.raises(
        LabError,
        match=r"model\.path: got 'tiny', expected one of tiny-gpt2, tiny-pythia, tiny-llama, planted-induction, ",
    ):
        model_config("tiny", source="tiny").check()


def test_provenance_names_weights_device_and_type(random_folders):
    model = load_model(model_config(random_folders["neox"], name="mine"))
    assert (model.device_name, model.origin.name, model.origin.weights_sha256) == ("cpu", "mine", model.weights_sha256)
    assert model.provenance == {
        "name": "mine",
        "source": "folder",
        "path": str(random_folders["neox"]),
        "revision": None,
        "weights_sha256": model.weights_sha256,
        "device": "cpu",
        "dtype": "float32",
        "quantization": None,
        "license": None,
    }


def test_rounding_is_that_of_the_weights(random_folders):
    assert load_model(model_config(random_folders["neox"])).rounding == 2**-23
    assert load_model(model_config(random_folders["neox"], dtype="bfloat16")).rounding == 2**-7
