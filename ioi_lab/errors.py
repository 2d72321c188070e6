"""The exception for a user's mistake, and one-line error messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


class LabError(Exception):
    """A mistake that the user can correct, as one line that names the key, the value and the choices.

    The command line prints the line and exits with code 1; a traceback is printed only with `HYDRA_FULL_ERROR=1`.
    """


def folded(error: BaseException) -> str:
    """Return the error's message in one line, without repeated blanks."""
    return " ".join(str(error).split())


def printable(text: str) -> str:
    """Return the text in one line that a terminal shows as it is: each control character becomes an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def reason_of(error: Exception) -> str:
    """Return in one line why a file could not be read: the system's reason alone, without number and path."""
    return getattr(error, "strerror", None) or folded(error)


@contextmanager
def called(group: str, key: str) -> Iterator[None]:
    """Make each `LabError` raised inside name `key` instead of the config group `group`.

    For a config group that stands under another name: the errors about `model` then name `intervention.source`.
    """
    try:
        yield
    except LabError as error:
        if key == group:
            raise
        as_key = re.sub(rf"(^|(?<=[\s(,])){group}(?=[.:])", key, str(error))
        raise LabError(re.sub(rf"(^|(?<=[\s(,])){group}=", f"{group}@{key}=", as_key)) from error
