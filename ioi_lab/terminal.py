"""What reaches a terminal: escape sequences in texts of prompts, names, files and models are printed as visible text.

Everything that the lab prints or logs passes through `printable`: by `say`, and by `PrintableFormatter` for logs.
"""

from __future__ import annotations

import logging
import sys
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TextIO
from weakref import WeakSet

from typing_extensions import override

if TYPE_CHECKING:
    from tqdm import tqdm

_HARMLESS: Final = "\n\t\u200c\u200d"
"""Control and format characters that stay: line ends and tabs, and the joiners of Persian, Hindi and emoji."""

_DELAY: Final = 1.0
"""Seconds after which a progress bar appears."""

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


def progress_bar(
    total: int | None, what: str, *, unit: str = "it", initial: int = 0, is_shown: bool = True
) -> tqdm[NoReturn]:
    """Return a progress bar with the rate and the time left, for work inside of a run that may take seconds or hours.

    It appears after a second and leaves nothing behind. In a log, or anything else that is no terminal, there is none.

    Args:
        total: How much there is to do; None if that is not known, and then the time left is not either.
        what: What is counted.
        unit: The name of one of it.
        initial: How much is done already.
        is_shown: False for a part of other work that has a bar.

    """
    from tqdm import tqdm

    hidden = None if is_shown else True  # None: unless there is a terminal
    bar = tqdm(total=total, desc=what, unit=unit, initial=initial, disable=hidden, leave=False, delay=_DELAY)
    _Bars.open.add(bar)
    return bar


def close_bars() -> None:
    """Take the bars of work that has been interrupted off the terminal, before anything is printed about it.

    The bar of a generator stays open for as long as the traceback of the error keeps its frame.
    """
    for bar in list(_Bars.open):
        bar.close()


class _Bars:
    """The bars that `progress_bar` has returned and somebody still has."""

    open: ClassVar[WeakSet[Any]] = WeakSet()


def print_early_logs_as_text() -> None:
    """Make what is logged before, or without, a configuration of logging `printable` too."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PrintableFormatter())


class PrintableFormatter(logging.Formatter):
    """A log formatter whose lines are `printable`."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
