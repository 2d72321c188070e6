"""Model folders: local ones, and snapshots of the hub without a network."""

from __future__ import annotations

import shutil

import pytest

from ioi_lab.errors import LabError
from ioi_lab.models.hub import check_model_folder, hub_folder
from ioi_lab.models.loading import load_model
from tests.conftest import model_config


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(LabError, match=r"^model\.path: .*none' is not a folder; expected one with config\.json"):
        model_config(tmp_path / "none").check()


@pytest.mark.parametrize(
    ("files", "lacks"),
    [
        ([], r"config\.json, tokenizer\.json, \*\.safetensors"),
        (["config.json", "tokenizer.json"], r"\*\.safetensors"),
        (["model.safetensors", "vocab.json"], r"config\.json"),
        (["config.json", "pytorch_model-1-of-2.bin"], r"tokenizer\.json"),
    ],
)
def test_a_folder_that_is_not_a_model_is_reported(tmp_path, files, lacks):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(LabError, match=rf"is not a Hugging Face model folder: it lacks {lacks}$"):
        model_config(tmp_path).check()


@pytest.mark.parametrize("tokenizer", ["tokenizer.json", "tokenizer.model", "vocab.json"])
@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_every_kind_of_weights_and_tokenizer_will_do(tmp_path, tokenizer, weights):
    for name in ("config.json", tokenizer, weights):
        (tmp_path / name).touch()
    check_model_folder(tmp_path)


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), OSError("404 Client Error. More")])
def test_a_hub_out_of_reach_is_reported(monkeypatch, error):
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


def test_older_weights_are_fetched_only_if_there_are_no_safetensors(tmp_path, monkeypatch):
    """A repository with both kinds of weights is downloaded once, without the older ones."""
    asked = []

    def download(repository, revision, allow_patterns):
        asked.append(allow_patterns[-1])
        (tmp_path / "tokenizer.json").touch()
        (tmp_path / "config.json").touch()
        if kinds[allow_patterns[-1]]:
            (tmp_path / kinds[allow_patterns[-1]]).touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    kinds = {"*.safetensors": None, "pytorch_model*.bin": "pytorch_model.bin"}
    assert hub_folder("someone/old", "main") == tmp_path
    assert asked == ["*.safetensors", "pytorch_model*.bin"]
    kinds = {"*.safetensors": "model.safetensors"}
    assert hub_folder("someone/new", "main") == tmp_path
    assert asked[2:] == ["*.safetensors"]
