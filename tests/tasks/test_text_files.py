from __future__ import annotations

import os
from pathlib import Path

import pytest

from ioi_lab.errors import LabError
from ioi_lab.tasks.text_files import read_text

TEXT = "Zoë met “Mary”.\r\nShe left."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", [None, ""])
def test_unicode_is_read_in_every_encoding_that_names_itself(tmp_path, encoding, newline):
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT.encode(encoding))
    assert read_text(file, "k", 1000, newline) == (TEXT if newline == "" else TEXT.replace("\r\n", "\n"))
    assert read_text(file, "k", 7) == TEXT[:7]


def test_big_endian_is_told_by_its_mark(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xfe\xff" + TEXT.encode("utf-16-be"))
    assert read_text(file, "k", 1000, "") == TEXT


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (TEXT.encode("cp1252"), r"^k: '.*' is not UTF-8 text \(byte 0xeb\); save it as UTF-8 \(Excel: “CSV UTF-8”"),
        (TEXT.encode("utf-16-le"), "is not UTF-8 text|has NUL characters"),
        ("plain".encode("utf-16-le"), "has NUL characters, so it is not UTF-8 text; save it as UTF-8"),
        (b"\xff\xfe\x00", "is not UTF-16 text"),
        ("Zoë".encode()[:-1], "is not UTF-8 text"),
    ],
)
def test_another_encoding_is_refused_with_what_to_do(tmp_path, content, line):
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(LabError, match=line):
        read_text(file, "k", 1000)


def test_only_files_that_end_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device")):
        with pytest.raises(LabError, match=rf"^k: '.*' is not a file but {kind}$"):
            read_text(Path(path), "k", 1000)
    for name in ("missing", "x" * 5000, "nul\0"):
        with pytest.raises(LabError, match=r"^k: (cannot read )?'"):
            read_text(tmp_path / name, "k", 1000)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("text")
    assert read_text(Path("~/a.txt"), "k", 10) == "text"
    with pytest.raises(LabError, match=r"^k: '~nobody-at-all/a\.txt' is not a file"):
        read_text(Path("~nobody-at-all/a.txt"), "k", 10)
