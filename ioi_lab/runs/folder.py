"""Run folders: atomic writes, provenance and status. A folder whose status is not `done` does not count."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import folded
from ioi_lab.reports.charts import Chart, as_data, from_data
from ioi_lab.reports.html.render import render
from ioi_lab.runs.pages import TEXTS, page_of, parts_of, texts_of
from ioi_lab.runs.parsing import read_json
from ioi_lab.runs.reading import (
    CONFIG,
    LOCK,
    PAGE,
    PLOTS,
    STATUS,
    SUMMARY,
    TYPED,
    read_metrics,
    read_run,
    read_status,
    report_files,
)
from ioi_lab.storage.files import json_text, write_bytes, write_json, write_text
from ioi_lab.storage.tables import csv_bytes, read_table

if TYPE_CHECKING:
    import pandas as pd

    from ioi_lab.reports.report import Report

log = logging.getLogger(__name__)

CHARTS: Final = "charts.json"
TRACEBACK: Final = "traceback.txt"
_TRACKER_RECORD: Final = "wandb.json"
_FILES_OF_EVERY_RUN: Final = (
    "results.csv",
    "prompts.csv",
    "metrics.json",
    SUMMARY,
    "provenance.json",
    TRACEBACK,
    _TRACKER_RECORD,
)
_CONFIG_HEADER: Final = """\
# The resolved config of this run. To run it again: {command} --config-dir <this folder> --config-name config
defaults:
- run_folder
- _self_
"""


class RunFolder:
    """The folder of one run. Its status is `running` before any other file is written, and `done` after the last.

    `sync`: whether each file is on the device before the next is written; else that is left to `sync_file_system`.
    """

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        self.path = path
        self._sync = sync
        self._started = time.time()
        self._clock = time.monotonic()
        self._is_ours = False
        """Whether this object wrote the files in the folder."""

        self._files: dict[str, dict[str, int | str]] = {}
        """The size and the checksum of each file that has been written."""

        self._headline: dict[str, str] = {}
        self._has_page = False
        """Whether `report.html` is written: it needs figures."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes; waits for a process that has locked it."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is working in this folder; waiting", self.path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def metrics(self) -> dict[str, float]:
        """Return the `metrics.json` of the finished run in this folder."""
        return read_metrics(self.path)

    def media(self) -> dict[str, Path]:
        """Return the figures, pages and tensors of the finished run in this folder, by name: for a dashboard."""
        paths = [self.path / name for name in report_files(read_status(self.path))]
        media = [path for path in paths if path.suffix in (".png", ".html", ".safetensors")]
        return {path.stem: path for path in media if path.is_file() and not path.is_symlink()}

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all tables (`.csv`) of the finished run in this folder, by name."""
        names = [name for name in report_files(read_status(self.path)) if name.endswith(".csv")]
        return {Path(name).stem: read_table(self.path / name) for name in names}

    def charts(self) -> list[Chart]:
        """Return the charts that the tables of the finished run make; none in runs of earlier versions."""
        if CHARTS not in report_files(read_status(self.path)):
            return []
        return from_data(read_json(self.path / CHARTS))

    def headline(self) -> str | None:
        """Return the metric that stands for the finished run in this folder."""
        return read_run(self.path).text("headline")

    def provenance(self) -> dict[str, Any]:
        """Return the `provenance.json` of the finished run in this folder."""
        return dict(read_run(self.path).provenance)

    def start(self, config_yaml: str, command: str) -> None:
        """Mark the folder as running, remove the files of an earlier run, and write `config.yaml` for `command`."""
        text = _CONFIG_HEADER.format(command=command) + config_yaml
        earlier = report_files(read_status(self.path))
        self._started, self._clock = time.time(), time.monotonic()
        self._is_ours = True
        self._files = {CONFIG: _stamp(text.encode())}
        self._set_status("running")
        for name in (PLOTS, *_FILES_OF_EVERY_RUN):
            _remove(self.path / name)
        for name in earlier:
            if not (self.path / name).is_dir():
                (self.path / name).unlink(missing_ok=True)
        write_text(self.path / CONFIG, text, sync=self._sync)

    def write_report(self, report: Report, *, figures: Sequence[str] = ("png",)) -> None:
        """Write `results.csv`, `prompts.csv`, `metrics.json`, the texts, figures and other files of the report.

        Args:
            report: The report.
            figures: The formats of the files of figures; none if no figures are to be drawn.

        """
        prompts = {} if report.prompts is None else {"prompts.csv": csv_bytes(report.prompts)}
        self._headline = {"headline": report.headline} if report.headline in report.metrics else {}
        self._write(
            {
                "results.csv": csv_bytes(report.table),
                **prompts,
                "metrics.json": json_text(report.metrics).encode(),
                SUMMARY: "".join(f"{line}\n" for line in report.summary).encode(),
                **({CHARTS: json_text(as_data(report.charts)).encode()} if report.charts else {}),
                **_drawn(report, figures),
                **report.files,
                TEXTS: texts_of(report),
            }
        )
        self._has_page = bool(figures)

    def _write(self, files: Mapping[str, bytes]) -> None:
        """Write the files after their names are in the status, so that a later run finds, and removes, all of them."""
        self._files |= {name: _stamp(content) for name, content in files.items()}
        self._set_status("running")
        for name, content in files.items():
            write_bytes(self.path / name, content, sync=self._sync)

    def finish(self, provenance: Mapping[str, Any], *, is_done: bool = True) -> None:
        """Write `provenance.json`, and `report.html` if figures were drawn, then mark the folder as done if it is."""
        seconds = round(time.monotonic() - self._clock, 3)
        write_json(self.path / "provenance.json", {"seconds": seconds, **provenance}, sync=self._sync)
        if self._has_page:
            self._write({PAGE: render(page_of(self.path), parts_of(self.path)).encode()})
        if is_done:
            self._set_status("done")

    def take_over(self, other: Path, identity: Mapping[str, str]) -> bool:
        """Copy the files of the finished run in the folder `other`, and record where they come from.

        Returns whether they were copied. Nothing is copied if that run has another identity, is incomplete, or begins
        again meanwhile.
        """
        earlier = read_run(other)
        stamps = report_files(earlier.status)
        if not earlier.is_done or earlier.identity != dict(identity):
            return False
        try:
            files = {name: (other / name).read_bytes() for name in stamps}
        except OSError:
            return False
        if any(_stamp(content) != stamps[name] for name, content in files.items()):
            return False
        headline = earlier.text("headline")
        self._headline = {} if headline is None else {"headline": headline}
        self._write(files)
        self.finish({**earlier.provenance, "taken_from": str(other)})
        return True

    @property
    def is_tracked(self) -> bool:
        """Whether the run in this folder has been logged to a dashboard."""
        return (self.path / _TRACKER_RECORD).is_file()

    def record_tracked(self, where: Mapping[str, str]) -> None:
        """Record where on the dashboard the run is."""
        write_json(self.path / _TRACKER_RECORD, where)

    def fail(self, error: BaseException) -> None:
        """Mark the folder as failed, with the error in one line.

        A folder that cannot be written stays as it is, and so does one with a finished run that was only read.
        """
        if not self._is_ours and read_status(self.path).get("status") == "done":
            return
        is_interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        message = "interrupted" if is_interrupted else folded(error) or type(error).__name__
        with contextlib.suppress(OSError):  # the status is not `done`, and the caller raises the error that matters
            self._set_status("failed", error=message, type=type(error).__name__)

    def _set_status(self, status: str, **details: str) -> None:
        content = {"status": status, "started": _timestamp(self._started), "updated": _timestamp(time.time())}
        files = {"files": self._files} if self._files else {}
        write_json(self.path / STATUS, content | self._headline | files | details, sync=self._sync)


def _drawn(report: Report, formats: Sequence[str]) -> dict[str, bytes]:
    """Return the figures of a report as files in these formats; nothing is drawn without one."""
    if not formats:
        return {}
    from ioi_lab.reports import plots  # seconds of imports

    figures = report.draw()
    return {f"{PLOTS}/{name}.{kind}": plots.image(figure, kind) for kind in formats for name, figure in figures.items()}


def discard_unless_begun(folder: Path) -> None:
    """Remove a folder in which no run has begun: it has nothing but what is written before a job."""
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {".hydra", "log.txt", TYPED}:
            shutil.rmtree(folder)
            folder.parent.rmdir()  # unless there are other runs of this name


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there; what a link points to stays as it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _stamp(content: bytes) -> dict[str, int | str]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
