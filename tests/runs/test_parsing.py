"""JSON and YAML are plain values, or one line that says what is wrong."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ioi_lab.runs.parsing import DamagedError, parsed, parsed_list, parsed_mapping, read_json, read_yaml_file
from ioi_lab.storage.files import yaml_text


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


KEYS = st.from_regex(r"[A-Za-z_]{1,6}", fullmatch=True)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=100)

BELOW = lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=3)  # noqa: E731


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(KEYS, st.recursive(PLAIN, BELOW, max_leaves=8)))
@example({"task": {"on": {"no": "When John and Mary\n\n  went to the store " * 5, "b": []}}, "_": {}})
@example({"NO": None})
@example({"no": {"NO": None, "a": 1}, "a": 2})
def test_keys_parsed_one_by_one_give_what_they_give_together(config):
    text = f"# a comment\n{yaml_text(config)}".encode()
    assert parsed_mapping(text, "a") == parsed(text, "a")
    assert parsed_list(yaml_text(list(config)).encode(), "a") == list(config)


@pytest.mark.parametrize(
    "text",
    ['a: "b\nc: d"\n', "a: &x [1]\nb: *x\n", "a: 1\n...\n", "a:\n  b: 1\n\n  c: 2\n", "a:\n  b\n", "a\n", "a: 1"],
)
def test_other_yaml_is_parsed_whole(text):
    assert parsed_mapping(text.encode(), "a") == parsed(text.encode(), "a")
