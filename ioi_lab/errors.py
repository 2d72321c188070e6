"""The one exception that stands for a user's mistake, and messages in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


class LabError(Exception):
    """Something the user can mend, told in one line that names the key, the value and the choices.

    The command line prints the line and exits with code 1; a traceback is shown only with `HYDRA_FULL_ERROR=1`.
    """


def folded(error: BaseException) -> str:
    """The error's message without line breaks or runs of blanks."""
    return " ".join(str(error).split())


@contextmanager
def called(group: str, key: str) -> Iterator[None]:
    """Let errors about the config group `group` name `key`, where such a group stands under another name."""
    try:
        yield
    except LabError as error:
        if key == group:
            raise
        as_key = re.sub(rf"(^|(?<=[\s(,])){group}(?=[.:])", key, str(error))
        raise LabError(re.sub(rf"(^|(?<=[\s(,])){group}=", f"{group}@{key}=", as_key)) from error
