from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ioi_lab.errors import LabError
from ioi_lab.storage.files import (
    check_user_file,
    parse_yaml,
    read_user_file,
    sha256_of_content,
    sha256_of_files,
    sync_file_system,
    write_bytes,
    write_json,
    write_text,
    yaml_text,
)


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


def test_a_file_in_the_place_of_a_folder_is_an_error_that_names_the_path(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="directory") as caught:
        write_text(tmp_path / "a" / "b.txt", "new")
    assert caught.value.filename == str(tmp_path / "a" / "b.txt")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


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


def endless(folder: Path) -> dict[str, Path]:
    """What is no file, or no end of one."""
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/dev/zero")
    (folder / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket must be short
        listening.bind("socket")
        os.chdir(here)
    return {
        "a pipe": folder / "pipe",
        "a device": folder / "link",
        "a socket": folder / "socket",
        "a folder": folder,
    }


def test_what_may_never_end_is_refused_without_being_opened(tmp_path, monkeypatch):
    paths = endless(tmp_path)
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("opened"))
    for what, path in (paths | {"a device": Path("/dev/zero")}).items():
        for check in (check_user_file, read_user_file):
            with pytest.raises(LabError, match=rf"^task\.path: '{path}' is not a file but {what}$"):
                check(path, "task.path", max_mb=1)
    for path, line in (
        (tmp_path / "nowhere", "is not a file$"),
        (tmp_path / "loop", "Too many levels of symbolic links$"),
        (tmp_path / "a\x00b", "embedded null byte$"),
        (tmp_path / ("x" * 300), "File name too long$"),
        (tmp_path / "pipe" / "x", "Not a directory$"),
    ):
        with pytest.raises(LabError, match=rf"^task\.path: .*{line}"):
            check_user_file(path, "task.path")


def test_a_file_is_read_up_to_its_limit(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 1000)
    (tmp_path / "link.csv").symlink_to(path)
    assert read_user_file(tmp_path / "link.csv", "task.path", max_mb=0.001) == b"x" * 1000
    with pytest.raises(LabError, match=r"^task\.path: .*a\.csv' has 0\.001 MB; expected 0\.0009 MB or less$"):
        check_user_file(path, "task.path", max_mb=0.0009)
    size = path.stat()
    path.write_bytes(b"x" * 2000)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: size)
    with pytest.raises(LabError, match=r"^task\.path: .*a\.csv' grows while it is read; expected 0\.001 MB or less$"):
        read_user_file(path, "task.path", max_mb=0.001)


def test_files_are_synced_one_by_one_or_together(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_bytes(tmp_path / "a", b"1", sync=False)
    write_json(tmp_path / "b.json", {}, sync=False)
    assert synced == []
    sync_file_system(tmp_path)
    write_bytes(tmp_path / "c", b"2")
    assert len(synced) == 1
    assert (tmp_path / "a").read_bytes() == b"1"
    with pytest.raises(OSError, match="nowhere"):
        sync_file_system(tmp_path / "nowhere")
