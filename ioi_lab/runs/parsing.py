"""JSON and YAML that somebody left, in whatever state: it is read as plain values, or is damaged."""

from __future__ import annotations

import json
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ioi_lab.errors import folded, reason_of
from ioi_lab.storage.files import parse_yaml

_MAX_BYTES: Final = 50_000_000
_MAX_VALUES: Final = 100_000
"""The largest file that is read as JSON or YAML, and the largest number of values in it: YAML can repeat them."""


_KEYS: Final = re.compile(rb"^(?=[A-Za-z_])", re.MULTILINE)
_NESTED: Final = re.compile(rb"(\w+:)\n(  [A-Za-z_].*\n(?:  .*\n)*)")
"""A key whose value is a mapping, in lines that all begin with two blanks."""


class DamagedError(Exception):
    """A run folder cannot be read; says why in one line."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raises `DamagedError` if there is none."""
    text = content_of(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path.name} is not JSON: {folded(error)}") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path.name} is not a JSON object")
    if len(text) > _MAX_VALUES or b"\\u" in text.lower():  # every value takes a character
        _check_values(content, text, path.name)
    return content


def read_yaml_file(path: Path) -> Any:
    """Return the plain values in a YAML file; raises `DamagedError` if it cannot be read."""
    return parsed(content_of(path), path.name)


def parsed(text: bytes, name: str) -> Any:
    """Return the plain values in the YAML of the file `name`; raises `DamagedError` if it cannot be read."""
    if max(text.count(b"["), text.count(b"{")) > _MAX_VALUES:
        raise DamagedError(f"{name} is too deep")
    try:
        content = parse_yaml(text)
    except Exception as error:  # PyYAML raises errors of many types, for dates and keys among others
        raise DamagedError(f"{name} is not YAML: {folded(error)}") from error
    _check_values(content, text, name)
    return content


def parsed_mapping(text: bytes, name: str) -> Any:
    """Return what `parsed` returns for YAML, but parse keys one by one: the jobs of a sweep share most of their lines.

    The values are shared with other files and must not be changed.
    """
    try:
        return _by_keys(text, name)
    except (DamagedError, AttributeError):  # the lab did not write it: a value goes on in the first column
        return parsed(text, name)


def parsed_list(text: bytes, name: str) -> Any:
    """Return what `parsed` returns for YAML, but parse items of one line one by one, as `parsed_mapping` does keys."""
    lines = text.splitlines(keepends=True)
    if not all(line.startswith(b"- ") for line in lines):
        return parsed(text, name)
    return [item for line in lines for item in _parsed_once(line, name)]


def _by_keys(text: bytes, name: str) -> dict[Any, Any]:
    return {key: value for block in _KEYS.split(text) for key, value in _block(block, name).items()}


@lru_cache(maxsize=4096)
def _block(text: bytes, name: str) -> Any:
    """Return the lines from a key to the next one in its column as a mapping."""
    if all(line.startswith(b"#") for line in text.splitlines()):  # a quoted key can follow a comment
        return {}
    if nested := _NESTED.fullmatch(text):
        head, below = nested.groups()
        (key,) = _parsed_once(head + b" 0", name)
        return {key: _by_keys(below[2:].replace(b"\n  ", b"\n"), name)}
    return parsed(text, name)


@lru_cache(maxsize=4096)
def _parsed_once(text: bytes, name: str) -> Any:
    return parsed(text, name)


def _check_values(content: Any, text: bytes, name: str) -> None:
    """Raise `DamagedError` for values that could not be shown: endless ones, keys that are no text, half characters."""
    waiting, count = [content], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > _MAX_VALUES:
            raise DamagedError(f"{name} has more than {_MAX_VALUES:,} values")
        if isinstance(value, dict):
            if not all(isinstance(key, str | int | float | None) for key in value):
                raise DamagedError(f"{name} has keys that are not text")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    if b"\\u" in text.lower():
        try:
            json.dumps(content, ensure_ascii=False, default=str).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            raise DamagedError(f"{name} has text that is not Unicode") from error


def content_of(path: Path) -> bytes:
    """Return the content of a file, which must be a plain one: a device or a pipe has no end."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise DamagedError(f"{path.name} is not a file")
        if about.st_size > _MAX_BYTES:
            raise DamagedError(f"{path.name} has more than {_MAX_BYTES:,} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path.name} cannot be read: {reason_of(error)}") from error
