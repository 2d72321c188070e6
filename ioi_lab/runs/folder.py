"""Run folders: atomic writes, provenance and status. A folder whose status is not `done` does not count."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import folded
from ioi_lab.storage.files import json_text, write_bytes, write_json, write_text
from ioi_lab.storage.tables import csv_bytes, read_table

if TYPE_CHECKING:
    import pandas as pd

    from ioi_lab.reports.report import Report

log = logging.getLogger(__name__)

STATUS: Final = "status.json"
TRACEBACK: Final = "traceback.txt"
_PACKAGES: Final = (
    "ioi-lab", "torch", "transformers", "transformer-lens", "hydra-core", "omegaconf", "wandb", "numpy", "matplotlib",
)  # fmt: skip
_TRACKER_RECORD: Final = "wandb.json"
_FILES_OF_EVERY_RUN: Final = ("results.csv", "prompts.csv", "metrics.json")
_CONFIG_HEADER: Final = """\
# The resolved config of this run. To run it again: python {command} --config-dir <this folder> --config-name config
defaults:
- run_folder
- _self_
"""


class RunFolder:
    """The folder of one run. Its status is `running` before any other file is written, and `done` after the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.time()
        self._is_ours = False
        """Whether this object wrote the files in the folder."""

        self._files: list[str] = []
        self._headline: dict[str, str] = {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes; waits for a process that has locked it."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
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
        return dict(json.loads((self.path / "metrics.json").read_text()))

    def table(self) -> pd.DataFrame:
        """Return the `results.csv` of the finished run in this folder."""
        return read_table(self.path / "results.csv")

    def media(self) -> dict[str, Path]:
        """Return the figures, pages and tensors of the finished run in this folder, by name: for a dashboard."""
        paths = [self.path / name for name in _report_files(self.path)]
        return {
            path.stem: path for path in paths if path.suffix in (".png", ".html", ".safetensors") and path.is_file()
        }

    def start(self, config_yaml: str, command: str) -> None:
        """Mark the folder as running, remove the files of an earlier run, and write `config.yaml` for `command`."""
        earlier = _report_files(self.path)
        self._started = time.time()
        self._is_ours = True
        self._set_status("running")
        for name in (*_FILES_OF_EVERY_RUN, "provenance.json", TRACEBACK, _TRACKER_RECORD, *earlier):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "plots", ignore_errors=True)
        write_text(self.path / "config.yaml", _CONFIG_HEADER.format(command=command) + config_yaml)

    def write_report(self, report: Report, *, figures: bool = True) -> None:
        """Write `results.csv`, `prompts.csv`, `metrics.json`, `plots/*.png` and the other files of the report."""
        from ioi_lab.reports import plots

        drawings = report.draw() if figures else {}
        prompts = {} if report.prompts is None else {"prompts.csv": csv_bytes(report.prompts)}
        self._headline = {"headline": report.headline} if report.headline in report.metrics else {}
        self._write(
            {
                "results.csv": csv_bytes(report.table),
                **prompts,
                "metrics.json": json_text(report.metrics).encode(),
                **{f"plots/{name}.png": plots.png(figure) for name, figure in drawings.items()},
                **report.files,
            }
        )

    def _write(self, files: Mapping[str, bytes]) -> None:
        """Write the files after their names are in the status, so that a later run finds, and removes, all of them."""
        self._files = list(files)
        self._set_status("running")
        for name, content in files.items():
            write_bytes(self.path / name, content)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write `provenance.json`, then mark the folder as done."""
        write_json(self.path / "provenance.json", {"seconds": round(time.time() - self._started, 3), **provenance})
        self._set_status("done")

    def take_over(self, other: Path, identity: Mapping[str, str]) -> bool:
        """Copy the files of the finished run in the folder `other`, and record where they come from.

        Returns whether they were copied. Nothing is copied if that run has another identity, is incomplete, or begins
        again meanwhile.
        """
        before = _stamp(other)
        status = read_status(other)
        try:
            provenance = json.loads((other / "provenance.json").read_text())
            files = {name: (other / name).read_bytes() for name in _report_files(other)}
        except (OSError, ValueError):
            return False
        if status.get("status") != "done" or done_identity(other) != dict(identity) or _stamp(other) != before:
            return False
        self._headline = {"headline": status["headline"]} if "headline" in status else {}
        self._write(files)
        self.finish(provenance | {"taken_from": str(other)})
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
        if not self._is_ours and is_done(self.path):
            return
        is_interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        message = "interrupted" if is_interrupted else folded(error) or type(error).__name__
        with contextlib.suppress(OSError):  # the status is not `done`, and the caller raises the error that matters
            self._set_status("failed", error=message, type=type(error).__name__)

    def _set_status(self, status: str, **details: str) -> None:
        content = {"status": status, "started": _timestamp(self._started), "updated": _timestamp(time.time())}
        files = {"files": self._files} if self._files else {}
        write_json(self.path / STATUS, content | self._headline | files | details)


def _report_files(folder: Path) -> list[str]:
    """Return the names of the files that the report of the run in `folder` consists of."""
    files = [PurePosixPath(str(name)) for name in read_status(folder).get("files", [])]
    return [str(path) for path in files if not path.is_absolute() and ".." not in path.parts]


def _stamp(folder: Path) -> int:
    """Return a number that changes when another run begins in `folder`."""
    try:
        return (folder / STATUS).stat().st_mtime_ns
    except OSError:
        return 0


def run_folders(root: Path) -> Iterator[Path]:
    """Yield the run folders in `root` and below it; the folders inside a run folder are not searched."""
    for path, below, files in os.walk(root):  # unlike `glob`, it raises no error for folders that vanish meanwhile
        if STATUS in files:
            below.clear()
            yield Path(path)


def is_done(folder: Path) -> bool:
    """Return whether the run in `folder` is complete; a status that cannot be read counts as not done."""
    return read_status(folder).get("status") == "done"


def finished_runs(folders: Iterable[Path]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield those of the run folders whose run is done and has an identity, with the identity."""
    for folder in folders:
        if is_done(folder) and (identity := done_identity(folder)):
            yield folder, identity


def done_identity(folder: Path) -> dict[str, str] | None:
    """Return the identity of the finished run in `folder` (see `identity_of`); None if its files are damaged."""
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
        is_whole = bool(json.loads((folder / "metrics.json").read_text())) and (folder / "results.csv").is_file()
        return dict(provenance.get("identity", {})) if is_whole else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def read_status(folder: Path) -> dict[str, Any]:
    """Return the content of the `status.json` in `folder`; empty if it cannot be read."""
    try:
        status = json.loads((folder / STATUS).read_text())
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def environment() -> dict[str, Any]:
    """Return the provenance that every run has: code, packages, machine and peak memory."""
    return {**_environment(), "peak_memory_mb": _peak_memory_mb()}


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    """Return the part that cannot change while the process runs, which has read its code when it started."""
    commit = _git("rev-parse", "HEAD")
    return {
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _git(*arguments: str) -> str | None:
    """Return the output of a git command on the lab's own checkout; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _peak_memory_mb() -> float:
    """Return the peak resident memory of this process so far, in MB (10⁶ bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
