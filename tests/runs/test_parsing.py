"""JSON and YAML are plain values, or one line that says what is wrong."""

from __future__ import annotations

import os

import pytest

from ioi_lab.runs.parsing import DamagedError, read_json, read_yaml_file


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b'{"a": "\\ud800"}', "has text that is not Unicode"),
        (b'{"a": [' + b"0," * 100_001 + b"0]}", "has more than 100,000 values"),
    ],
)
def test_what_is_no_json_object_is_damaged(tmp_path, content, line):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedError, match=f"^a.json {line}") as damaged:
        read_json(tmp_path / "a.json")
    assert str(damaged.value).isprintable()
    (tmp_path / "a.json").write_text('{"a": "\\ud83d\\ude00", "b": [1, null]}')
    assert read_json(tmp_path / "a.json") == {"a": "😀", "b": [1, None]}


@pytest.mark.parametrize(
    "content", ["a: [", "a: 2001-99-99", "? [1]\n: 2", "[" * 200_000, "!!python/object:os.system {}"]
)
def test_what_is_no_plain_yaml_is_damaged(tmp_path, content):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(DamagedError, match=r"^a\.yaml ") as damaged:
        read_yaml_file(tmp_path / "a.yaml")
    assert str(damaged.value).isprintable()


def test_only_plain_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, line in (("pipe", "is not a file"), ("folder", "is not a file"), ("nothing", "is missing")):
        with pytest.raises(DamagedError, match=f"^{name} {line}$"):
            read_json(tmp_path / name)
