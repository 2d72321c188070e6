"""The progress bar of a multirun. It reads the folder of the multirun, which works with every launcher."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm
from typing_extensions import override

from ioi_lab.runs.finding import run_folders
from ioi_lab.runs.reading import read_status

_MAX_SHARE_OF_TIME: Final = 0.05
"""The largest share of the time that is spent on reading the folders."""


class Progress:
    """A bar with the number of finished jobs, their rate, the time left and the failures; hidden without a terminal."""

    def __init__(self, folder: Path, jobs: int | None) -> None:
        self._folder = folder
        self._started = time.time()
        self._bar: tqdm[Any] = tqdm(total=jobs, initial=self._count()[0], desc="jobs", unit="job", disable=None)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if not self._bar.disable:
            self._thread.start()

    def close(self) -> None:
        """Show the last state and stop; does nothing if called again."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
            self._show()
        self._bar.close()

    def _watch(self) -> None:
        pause = 1.0
        while not self._ended.wait(pause):
            started = time.perf_counter()
            self._show()
            pause = max(1.0, (time.perf_counter() - started) / _MAX_SHARE_OF_TIME)

    def _show(self) -> None:
        done, failed = self._count()
        self._bar.n = done
        self._bar.set_postfix(failed=failed, refresh=False)
        self._bar.refresh()

    def _count(self) -> tuple[int, int]:
        """Return how many jobs are done, and how many have failed since the start."""
        statuses = [read_status(run) for run in run_folders(self._folder)]
        failed = [status for status in statuses if status.get("status") == "failed"]
        done = sum(status.get("status") == "done" for status in statuses)
        return done, sum(_updated(status) >= int(self._started) for status in failed)


def _updated(status: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(status["updated"])).timestamp()
    except (KeyError, ValueError, OverflowError):
        return 0.0


class ConsoleHandler(logging.StreamHandler[Any]):
    """A log handler that writes above progress bars, not into them."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
