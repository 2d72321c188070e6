"""Values of keys that are texts or paths, as they were typed: Hydra's grammar would split or refuse some of them."""

from __future__ import annotations

import os
import re
from typing import Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ioi_lab.runs.identity import PATH_KEYS

TEXT_KEYS: Final = ("task.prompt", "task.corrupt", "task.answer", "task.distractor")

_ORDINARY_PATH: Final = re.compile(r"(?=.*(/|\.[A-Za-z]))[A-Za-z0-9_./-]+")
"""Paths that Hydra reads as they are: the same command stays the same when its file appears or vanishes."""


def as_typed(override: str) -> str:
    """Return an override of a text or a path in a form that Hydra reads as it was typed; any other one unchanged.

    The shell has removed quotes, so commas would split a sentence, and Hydra refuses `~`, brackets and letters outside
    ASCII in a path. A path that exists is one path; of others, commas separate the values of a multirun, as usual.
    """
    key, equals, value = override.partition("=")
    if not equals or value in ("", "null") or _is_quoted(value):
        return override
    if key in TEXT_KEYS:
        return f"{key}={quoted(value)}"
    if key.lstrip("+").rpartition(".")[2] not in PATH_KEYS or _ORDINARY_PATH.fullmatch(value):
        return override
    if os.path.exists(os.path.expanduser(value)):
        return f"{key}={quoted(value)}"
    if _is_read(override):
        return override
    return f"{key}={','.join(_as_path(key, part) for part in value.split(','))}"


def _as_path(key: str, value: str) -> str:
    return value if _is_quoted(value) or _is_read(f"{key}={value}") else quoted(value)


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]


def _is_read(override: str) -> bool:
    """Whether Hydra's grammar has the override."""
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def quoted(value: str) -> str:
    """Return a text in quotes that Hydra reads as this very text."""
    # Hydra reads a backslash as itself, except in front of a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), value)
    return f'"{escaped}"'
