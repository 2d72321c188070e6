from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ioi_lab.storage.files import parse_yaml, sha256_of_content, sha256_of_files, write_json, write_text, yaml_text


def test_written_whole_into_new_folders(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"é": 1})
    assert (tmp_path / "a" / "b.json").read_text(encoding="utf-8") == '{\n  "é": 1\n}\n'


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    assert sha256_of_files([tmp_path / "a", tmp_path / "b"]) == hashlib.sha256(b"onetwo").hexdigest()


@given(st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans() | st.none())
@example("1e3")
@example("on")
@example("1_000")
@example("a: [b")
@example("1:30")
def test_yaml_reads_back_as_what_was_written(value):
    assume(not isinstance(value, str) or all(character.isprintable() for character in value))
    assume(not isinstance(value, str) or "${" not in value)
    assert OmegaConf.create(yaml_text({"key": value, "keys": [value]})) == {"key": value, "keys": [value]}


def test_a_damaged_yaml_file_is_reported_in_one_line(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(ValueError, match="expected") as caught:
        parse_yaml((tmp_path / "a.yaml").read_bytes())
    assert "\n" not in str(caught.value)
    (tmp_path / "a.yaml").write_text(yaml_text({"a": [1, 2.5, "x", None]}))
    assert parse_yaml((tmp_path / "a.yaml").read_bytes()) == {"a": [1, 2.5, "x", None]}


def test_the_checksum_of_a_file_follows_its_content(tmp_path):
    path = tmp_path / "a.csv"
    for content in (b"one", b"other"):
        path.write_bytes(content)
        assert sha256_of_content(path) == hashlib.sha256(content).hexdigest()


def test_the_checksum_of_a_run_folder_is_that_of_its_results(tmp_path):
    for name in ("results.csv", "vectors.safetensors", "metrics.json", "config.yaml", "status.json", "log.txt"):
        (tmp_path / name).write_text(name)
    first = sha256_of_content(tmp_path)
    for name in ("status.json", "log.txt", "traceback.txt"):
        (tmp_path / name).write_text("changed")
    assert sha256_of_content(tmp_path) == first
    (tmp_path / "more.csv").touch()
    assert sha256_of_content(tmp_path) != first
    (tmp_path / "more.csv").unlink()
    (tmp_path / "metrics.json").write_text("changed")
    assert sha256_of_content(tmp_path) != first
