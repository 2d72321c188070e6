"""The exception for a user's mistake, and one-line error messages."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Final, TypeVar

ErrorT = TypeVar("ErrorT", bound=BaseException)

_NO_MEMORY: Final = re.compile(
    r"out of memory|not enough memory|can(no|')t allocate memory|std::bad_alloc", re.IGNORECASE
)
"""Words of errors for a lack of memory that have no class of their own, such as those of torch's allocator for CPUs."""


class LabError(Exception):
    """A mistake that the user can correct, as one line that names the key, the value and the choices.

    The command line prints the line and exits with code 1; a traceback is printed only with `HYDRA_FULL_ERROR=1`. A
    notebook shows the line too.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"error: {self}"]


def folded(error: BaseException) -> str:
    """Return the error's message in one line, without repeated blanks."""
    return " ".join(str(error).split())


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ` (did you mean …?)` with the name that is most like `name`, or nothing if none is."""
    close = get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def explained(error: ErrorT) -> ErrorT | LabError:
    """Return a lack of memory, of a CPU or a GPU, as a `LabError` that says what needs less; others stay."""
    text = folded(error)
    is_lack = (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and _NO_MEMORY.search(text) is not None)
    )
    if not is_lack:
        return error
    amount = re.search(r"(?:tried to|unable to) allocate ([\d.,]+ ?\w+)", text, re.IGNORECASE)
    wanted = f" (for {amount[1]} more)" if amount else ""
    where = "GPU" if "CUDA" in text else "machine"
    return LabError(
        f"not enough memory on this {where}{wanted}; a lower engine.memory_gb needs less, and so do fewer prompts, "
        "a smaller model or grid, and fewer jobs at a time"
    )


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
        # Not the word itself, as in `cannot be loaded as a causal language model: …`.
        as_key = re.sub(rf"^{group}(?=:)|(^|(?<=[\s(,])){group}(?=\.\w)", key, str(error))
        raise LabError(re.sub(rf"(^|(?<=[\s(,])){group}=", f"{group}@{key}=", as_key)) from error
