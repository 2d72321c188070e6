"""SIGTERM and SIGHUP act as Ctrl-C: the program ends with one line and exit code 128 + signal.

Imports nothing but the standard library, so that a script can call `end_on_signals` before its slow imports.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn

SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SAME_SIGNAL_S: Final = 1.0
"""Seconds within which a signal counts once: a terminal and a parent process often send the same one."""

_AGAIN_S: Final = 5.0
"""Seconds after which a signal is repeated if the program still runs: some libraries swallow the exception."""


class Interruption(KeyboardInterrupt):
    """A signal that asks the program to end; its notes (`add_note`) say how far the program has come."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Interrupts:
    """The handler of all signals while a command runs: raises an `Interruption` in the main thread."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that was received."""

        self._time = 0.0
        self._ended = threading.Event()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number is not None and now - self._time < _SAME_SIGNAL_S:
            return
        if self.number is None:
            threading.Thread(target=self._insist, args=(number,), daemon=True).start()
        self.number, self._time = number, now
        raise Interruption(number)

    def end(self) -> None:
        """Do not raise anything any more."""
        self._ended.set()

    def _insist(self, number: int) -> None:
        while not self._ended.wait(_AGAIN_S):
            os.kill(os.getpid(), number)


def end_on_signals() -> None:
    """From now on, end the program with one line when a signal arrives: while there is nothing to leave in order."""
    _handle(_end_at_once)


@contextmanager
def interruptible(tell: Callable[[str], None]) -> Iterator[None]:
    """Raise an `Interruption` inside when a signal arrives, `tell` the user, and exit with 128 + signal.

    Signals that are ignored (`nohup`) stay ignored. The main thread alone may enter this.

    Args:
        tell: Prints the line, given how the program was interrupted and how far it came.

    """
    interrupts = _Interrupts()
    before = _handle(interrupts)
    try:
        yield
    except BaseException as error:
        if interrupts.number is None and not isinstance(error, KeyboardInterrupt):
            raise
        number = interrupts.number or signal.SIGINT
        interrupts.end()
        _handle(_leave)
        tell("; ".join([_name(number), *getattr(error, "__notes__", [])]))
        if _end_at_once in before.values():  # threads that wait for a download or a pass would keep a program alive
            _leave(number)
        sys.exit(128 + number)
    finally:
        interrupts.end()
        for known, handler in before.items():
            signal.signal(known, handler)


def check_not_interrupted(error: Exception) -> None:
    """Raise the interruption that has become this error: some imports make an `ImportError` of it."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, _Interrupts) and handler.number is not None:
        raise Interruption(handler.number) from error


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Install a handler for the signals that are not ignored; returns the earlier ones."""
    known = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    return {number: signal.signal(number, handler) for number in known}


def _name(number: int) -> str:
    return "interrupted" if number == signal.SIGINT else f"interrupted by {signal.Signals(number).name}"


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    with suppress(OSError, ValueError):
        os.write(2, f"{_name(number)}\n".encode())
    _leave(number)


def _leave(number: int, frame: FrameType | None = None) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, or interrupted while it writes
            stream.flush()
    os._exit(128 + number)
