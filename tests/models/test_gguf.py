"""GGUF files: where they are, the type of their weights, and their conversion, which happens once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, LlamaFileType
from gguf.quants import dequantize

from ioi_lab.errors import LabError
from ioi_lab.models import gguf
from ioi_lab.models.gguf import cache_folder, converted_gguf, license_of, quantization_of, quantization_of_file
from ioi_lab.models.gguf_files import gguf_file
from ioi_lab.storage.files import sha256_of_files
from tests.conftest import hugging_face
from tests.models.tiny_gguf import write_gguf


def test_a_failed_conversion_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(LabError, match=r"model\.path: cannot convert .*broken\.gguf' from GGUF") as caught:
        converted_gguf(gguf_file(str(broken)))
    assert "\n" not in str(caught.value)
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("IOI_LAB_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "ioi_lab"


def test_a_file_is_converted_once_per_content(tmp_path, monkeypatch):
    """The conversion itself is replaced: this is about the cache."""
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    converted = []

    def convert(file, folder):
        converted.append(file.name)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(file.read_bytes())

    monkeypatch.setattr(gguf, "_convert_gguf", convert)
    monkeypatch.setattr(gguf, "quantization_of_file", lambda file: None)
    monkeypatch.setattr(gguf, "license_of_file", lambda file: "mine")
    file, copy = tmp_path / "a.gguf", tmp_path / "elsewhere" / "a.gguf"
    file.write_bytes(b"one")
    copy.parent.mkdir()
    copy.write_bytes(b"one")

    def convert_again(path):
        return converted_gguf(gguf_file(str(path)))

    folder = convert_again(file)
    assert convert_again(file) == convert_again(copy) == folder
    assert json.loads((folder / "source.json").read_text()) == {
        "file": "a.gguf",
        "sha256": sha256_of_files([file]),
        "quantization": None,
        "license": "mine",
    }
    file.write_bytes(b"two")
    assert (convert_again(file) / "model.safetensors").read_bytes() == b"two"
    assert (folder / "model.safetensors").read_bytes() == b"one"
    assert converted == ["a.gguf", "a.gguf"]


@pytest.mark.parametrize(
    ("kind", "declared", "expected"),
    [
        ("Q4_1", "MOSTLY_Q4_1", "Q4_1"),
        ("Q8_0", None, "Q8_0"),
        ("Q5_0", "MOSTLY_Q4_K_M", "Q5_0"),  # all tensors have a width that does not suit Q4_K
        ("F16", "MOSTLY_F16", None),
        ("F32", None, None),
    ],
)
def test_the_type_of_the_weights_is_read_from_the_file(tmp_path, kind, declared, expected):
    named = None if declared is None else LlamaFileType[declared]
    file = write_gguf(tmp_path / "tiny.gguf", GGMLQuantizationType[kind], named)
    assert quantization_of_file(file) == expected


def test_a_mixture_of_types_has_its_declared_name(monkeypatch):
    def reader(file):
        tensors = [(GGMLQuantizationType.Q4_K, 9), (GGMLQuantizationType.Q6_K, 1), (GGMLQuantizationType.F32, 1)]
        return SimpleNamespace(
            tensors=[SimpleNamespace(tensor_type=kind, n_elements=size) for kind, size in tensors],
            get_field=lambda name: SimpleNamespace(contents=lambda: LlamaFileType.MOSTLY_Q4_K_M.value),
        )

    monkeypatch.setattr("gguf.GGUFReader", reader)
    assert quantization_of_file("any.gguf") == "Q4_K_M"


def test_a_converted_folder_has_the_dequantised_weights_and_their_former_type(tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    file = write_gguf(tmp_path / "tiny.gguf")
    folder = converted_gguf(gguf_file(str(file)))
    assert quantization_of(folder) == "Q4_1"
    assert license_of(folder) == "apache-2.0"
    tensors = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    stored = tensors["blk.1.ffn_down.weight"]
    expected = torch.tensor(dequantize(stored.data, stored.tensor_type))
    assert torch.equal(hugging_face(folder).model.layers[1].mlp.down_proj.weight, expected)
    (folder / "source.json").write_text(json.dumps({"file": "tiny.gguf", "sha256": "of an earlier version"}))
    assert quantization_of(folder) is None
    assert quantization_of(converted_gguf(gguf_file(str(file)))) == "Q4_1"
    assert quantization_of(tmp_path) is license_of(tmp_path) is None
