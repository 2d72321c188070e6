"""What Hydra's grammar cannot read, as one line that says what to type instead.

Most of it is the shell's doing: it splits words at spaces, removes quotes, and hands on `#` in some shells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ioi_lab.config import config_folders

_BRACKETS: Final = {"[": "]", "(": ")", "{": "}"}


def unreadable(override: str, arguments: Sequence[str]) -> str:
    """Return the line for an override that Hydra's parser refuses, given the whole command line."""
    following = list(arguments[arguments.index(override) + 1 :]) if override in arguments else []
    key, equals, value = override.partition("=")
    if override.startswith("#"):
        return f"{override}: '#' starts no comment here; leave it and the words after it away"
    if equals and key != key.strip():
        return f"{override}: write {key.strip()}={value.strip()}, without spaces around '='"
    if not equals:
        return _without_value(override, following)
    if value.startswith("="):
        return f"{key}: got {value!r}; write one '=' only: {key}={value.lstrip('=')}"
    if value.startswith("(") and value.endswith(")"):
        return f"{key}: got {value!r}; write a list in square brackets and quotes: '{key}=[{value[1:-1]}]'"
    if (missing := _not_closed(value)) and ")" not in missing:
        return _open(key, value, missing, following)
    if re.search(r"[\[({]", value) is None and re.search(r"[\])}]", value):
        return f"{key}: got {value!r}, in which a bracket is closed that was not opened; write a list as '{key}=[…]'"
    return (
        f"{key}: got {value!r}, with characters that mean something to Hydra; put quotes around the value, and others "
        f"around the whole for the shell: '{key}=\"{value}\"'"
    )


def option_named(word: str) -> str | None:
    """Return the override that chooses the option that a word names: `model=tiny-gpt2`; None if none has the name."""
    group, _, option = word.rpartition("/")
    if not re.fullmatch(r"[\w-]+", option):
        return None
    found = [file for folder in config_folders() for file in sorted(folder.glob(f"{group or '*'}/{option}.yaml"))]
    return f"{found[0].parent.name}={option}" if found else None


def _without_value(word: str, following: Sequence[str]) -> str:
    if chosen := option_named(word):
        return f"{word}: is not key=value; write {chosen}"
    if following[:1] == ["="]:
        return f"{word}: write {word}={following[1] if len(following) > 1 else '…'}, without spaces around '='"
    if match := re.fullmatch(r"([\w.@]+)[:\s]\s*(\S.*)", word):
        return f"{word}: is not key=value; write {match[1]}={match[2]}"
    if re.fullmatch(r"[+~]*[\w.@/]+", word):
        return f"{word}: has no value; write {word}=VALUE"
    return f"{word}: is not key=value; if a space has split it from the word before, quote both together: 'key=…'"


def _not_closed(value: str) -> str:
    """Return what a value lacks at its end: brackets, or a quote; empty if it lacks nothing."""
    stack: list[str] = []
    for character in value:
        if stack and stack[-1] in "'\"":
            if character == stack[-1]:
                stack.pop()
        elif character in "'\"":
            stack.append(character)
        elif character in _BRACKETS:
            stack.append(_BRACKETS[character])
        elif stack and character == stack[-1]:
            stack.pop()
    return "".join(reversed(stack))


def _open(key: str, value: str, missing: str, following: Sequence[str]) -> str:
    """Return the line for a value whose bracket or quote is not closed, which a space may have split."""
    for count in range(1, len(following) + 1):
        words = [value, *following[:count]]
        if not _not_closed(" ".join(words)):
            whole = f"{key}={''.join(words)}" if "[" in value or "{" in value else f"{key}={' '.join(words)}"
            return f"{key}: got {' '.join(words)!r} in {count + 1} words; write it in quotes for the shell: '{whole}'"
    if missing[-1] in "'\"":
        bare = value.replace(missing[-1], "")
        return f"{key}: got {value!r}, in which a quote is not closed; write '{key}=\"{bare}\"'"
    return f"{key}: got {value!r}, in which {missing!r} is missing; write '{key}={value}{missing}'"
