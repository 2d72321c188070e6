"""Broken model folders: each ends in one line, before anything is read whole."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ioi_lab.errors import LabError
from ioi_lab.models.folder_files import check_files, weights_in
from ioi_lab.models.loading import checksums_of, load_model
from tests.conftest import model_config

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 548105171\n"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path, random_folders):
    return Path(shutil.copytree(random_folders["gpt2"], tmp_path / "copy"))


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Break a folder: something else stands in place of one of its files."""

    def breaking(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return breaking


def changed(change: Callable[[bytes], bytes], name: str = "model.safetensors") -> Callable[[Path], None]:
    def breaking(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return breaking


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text)


def with_index(text: str) -> Callable[[Path], None]:
    """Break a folder: its weights are in another file, and the index has this text."""

    def breaking(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        (folder / INDEX).write_text(text)

    return breaking


def shard(name: object) -> Callable[[Path], None]:
    return with_index(json.dumps({"metadata": {}, "weight_map": {"wte.weight": name}}))


def header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


DAMAGED = {
    "empty": (changed(lambda data: b""), "is not a whole safetensors file"),
    "short": (changed(lambda data: data[:3]), "is not a whole safetensors file"),
    "zeros": (changed(lambda data: bytes(1000)), "is not a whole safetensors file"),
    "header cut": (changed(lambda data: data[:100]), "is not a whole safetensors file"),
    "header too long": (changed(lambda data: struct.pack("<Q", 2**62) + data[8:]), "is not a whole safetensors file"),
    "header longer than the file": (
        changed(lambda data: struct.pack("<Q", len(data)) + data[8:]),
        "is not a whole safe",
    ),
    "header of noise": (changed(lambda data: data[:8] + b"\xff" * 50 + data[58:]), "is not a whole safetensors file"),
    "header is a list": (changed(lambda data: header(b"[1]")), "is not a whole safetensors file"),
    "header without shapes": (changed(lambda data: header(b'{"a":{}}')), "is not a whole safetensors file"),
    "header of strings": (
        changed(lambda data: header(b'{"a":{"data_offsets":["x"],"shape":["y"]}}')),
        "is not a whole safetensors file",
    ),
    "negative shape": (changed(lambda data: header(b'{"a":{"data_offsets":[0,0],"shape":[-1]}}')), "is not a whole"),
    "deep header": (changed(lambda data: header(b"[" * 100_000)), "is not a whole safetensors file"),
    "half": (changed(lambda data: data[: len(data) // 2]), "is not a whole safetensors file"),
    "a byte less": (changed(lambda data: data[:-1]), "is not a whole safetensors file"),
    "a byte more": (changed(lambda data: data + b"x"), "is not a whole safetensors file"),
    "pointer": (written("model.safetensors", POINTER), "is a git-lfs pointer, .*; run: git lfs pull"),
    "folder": (instead("model.safetensors", Path.mkdir), "is a folder, expected a file"),
    "pipe": (instead("model.safetensors", os.mkfifo), "is a pipe, expected a file"),
    "device": (instead("model.safetensors", lambda file: file.symlink_to("/dev/zero")), "is a device, expected a file"),
    "broken link": (instead("model.safetensors", lambda file: file.symlink_to("nothing")), "No such file"),
    "link to itself": (instead("model.safetensors", lambda file: file.symlink_to(file)), "Too many levels"),
    "pointer to pickles": (written("pytorch_model.bin", POINTER), "is a git-lfs pointer"),
    "pickles of a device": (instead("pytorch_model.bin", lambda file: file.symlink_to("/dev/zero")), "is a device"),
    "config: pointer": (written("config.json", POINTER), "is a git-lfs pointer"),
    "config: empty": (written("config.json", ""), "cannot read .*config.json' as JSON"),
    "config: a list": (written("config.json", "[1]"), "config.json' is not a JSON object"),
    "config: deep": (written("config.json", "[" * 100_000), "cannot read .*config.json' as JSON"),
    "config: not UTF-8": (changed(lambda data: b"\xff\xfe{}", "config.json"), "cannot read .*config.json' as JSON"),
    "config: device": (instead("config.json", lambda file: file.symlink_to("/dev/zero")), "lacks config.json"),
    "config: pipe": (instead("config.json", os.mkfifo), "lacks config.json"),
    "tokenizer: pointer": (written("tokenizer.json", POINTER), "is a git-lfs pointer"),
    "tokenizer: empty": (written("tokenizer.json", ""), "cannot read .*tokenizer.json' as JSON"),
    "tokenizer: config is a list": (written("tokenizer_config.json", "[]"), "tokenizer_config.json' is not a JSON obj"),
    "tokenizer: config is a pipe": (instead("tokenizer_config.json", os.mkfifo), "tokenizer_config.json' is a pipe"),
    "another text: pipe": (instead("merges.txt", os.mkfifo), "merges.txt' is a pipe"),
    "index: a list": (with_index("[]"), "is not a JSON object"),
    "index: no files": (with_index("{}"), "names no weight files"),
    "index: an absent file": (shard("model-00002-of-00002.safetensors"), "which is not in the folder"),
    "index: a device": (shard("/dev/zero"), "names '/dev/zero', which is not in the folder"),
    "index: outside": (shard("../model.safetensors"), "names '../model.safetensors', which is not in the folder"),
    "index: no name": (shard(7), "names '7', which is not in the folder"),
}
"""What is broken, how, and the line that says so."""


@pytest.mark.parametrize("case", DAMAGED)
def test_a_broken_folder_is_one_line(folder, case):
    breaking, line = DAMAGED[case]
    breaking(folder)
    with pytest.raises(LabError, match=rf"^model\.path: .*{line}") as caught:
        model_config(folder).check()
    assert "\n" not in str(caught.value)
    if "lacks" not in line:  # what appears after the config has been checked is seen before it is read
        with pytest.raises(LabError, match=line):
            checksums_of(model_config(folder))


def test_a_file_that_may_not_be_read_is_reported(folder, monkeypatch):
    def refuse(*arguments, **keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(LabError, match=r"cannot read '.*': Permission denied$"):
        check_files(folder)


def test_what_transformers_does_not_need_may_be_damaged(folder):
    written("generation_config.json", "{")(folder)
    written(INDEX, "[]")(folder)
    check_files(folder)
    load_model(model_config(folder))


def test_a_whole_folder_passes_and_its_numbers_are_counted(random_folders, tmp_path):
    for folder in random_folders.values():
        check_files(folder)
    weights = weights_in(random_folders["gpt2"])
    assert weights is not None
    assert weights.n_tensors == 28
    assert weights.n_numbers * 4 < (random_folders["gpt2"] / "model.safetensors").stat().st_size
    assert weights_in(tmp_path) is None
