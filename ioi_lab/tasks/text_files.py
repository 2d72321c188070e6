"""Text files of unknown encoding: bytes to text, or one line that says why not."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError, reason_of

_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # in front of UTF-16, whose mark is the start of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by the byte order mark at the start of a file."""

_SAVE_AS: Final = "save it as UTF-8 (Excel: “CSV UTF-8”; or: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW)"


def regular_file(path: Path, key: str) -> Path:
    """Return the path with `~` expanded.

    Raises a `LabError` that names `key` if it is not a file that ends: a folder, a device or a pipe.
    """
    file = Path(os.path.expanduser(path))
    try:
        file.stat()
    except (OSError, ValueError) as error:
        raise LabError(f"{key}: cannot read {str(path)!r}: {reason_of(error)}") from error
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "a device or a pipe"
        raise LabError(f"{key}: got {str(path)!r}, which is {kind}; expected a file")
    return file


def read_text(path: Path, key: str, max_characters: int, newline: str | None = None) -> str:
    """Return the first characters of a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    An encoding without a mark, such as Windows-1252, is not guessed: a wrong guess would change tokens in silence.

    Args:
        path: The file.
        key: The config key that names it, for errors.
        max_characters: The largest number of characters to read.
        newline: As for `open`: `""` leaves line breaks as they are.

    Raises:
        LabError: If the file cannot be read or is not text in one of these encodings.

    """
    file = regular_file(path, key)
    try:
        with file.open("rb") as raw:
            encoding = _encoding(raw.read(4))
        with file.open(encoding=encoding, newline=newline) as opened:
            text = opened.read(max_characters)
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise LabError(f"{key}: {str(path)!r} is not {_name(encoding)} text ({found}); {_SAVE_AS}") from error
    except (OSError, ValueError) as error:
        raise LabError(f"{key}: cannot read {str(path)!r}: {reason_of(error)}") from error
    if "\0" in text:
        raise LabError(f"{key}: {str(path)!r} has NUL characters, so it is not UTF-8 text; {_SAVE_AS}")
    return text


def _encoding(start: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), "utf-8")


def _name(encoding: str) -> str:
    return encoding.removesuffix("-sig").upper()
