"""What reaches a terminal: escape sequences in texts of prompts, names, files and models are printed as visible text.

Everything that the lab prints or logs passes through `printable`: by `say`, and by `PrintableFormatter` for the log.
"""

from __future__ import annotations

import logging
import sys
import unicodedata
from functools import lru_cache
from typing import Final, TextIO

from typing_extensions import override

_HARMLESS: Final = "\n\t\u200c\u200d"
"""Control and format characters that stay: line ends and tabs, and the joiners of Persian, Hindi and emoji."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control and format characters (such as bidirectional overrides), surrogates, line ends."""


def printable(text: str) -> str:
    r"""Return a text with each control, bidirectional and other invisible character as an escape such as `\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    if character in _HARMLESS or unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def say(line: str, file: TextIO | None = None) -> None:
    """Print a line, by default to the standard output, above any progress bar."""
    from tqdm import tqdm

    tqdm.write(printable(line), file=file or sys.stdout)


class PrintableFormatter(logging.Formatter):
    """A log formatter whose lines are `printable`."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
