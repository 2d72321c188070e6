"""The run folder: atomic writes, provenance and status. A folder whose status is not `done` does not count."""

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Self

from ioi_lab.errors import LabError, folded
from ioi_lab.storage.files import json_text, write_bytes, write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

    from ioi_lab.reports.report import Report

log = logging.getLogger(__name__)

STATUS: Final = "status.json"
TRACEBACK: Final = "traceback.txt"
_PACKAGES: Final = (
    "ioi-lab", "torch", "transformers", "transformer-lens", "hydra-core", "omegaconf", "wandb", "numpy", "matplotlib",
)  # fmt: skip
_TRACKED: Final = "wandb.json"
_FILES_OF_EVERY_RUN: Final = ("results.csv", "prompts.csv", "metrics.json")
_CONFIG_HEADER: Final = """\
# The resolved config of this run. To run it again: python {command} --config-dir <this folder> --config-name config
defaults:
- run_folder
- _self_
"""


class RunFolder:
    """Writes one run's files. The order makes a folder trustworthy: `running` first, `done` last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.time()
        self._is_ours = False
        """Whether what is in the folder is this run's."""

        self._files: list[str] = []
        self._headline: dict[str, str] = {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder, or wait until the one that is in it has ended."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is at it; waiting", self.path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def metrics(self) -> dict[str, float]:
        """Of the run that is done in this folder."""
        return dict(json.loads((self.path / "metrics.json").read_text()))

    def table(self) -> pd.DataFrame:
        """The `results.csv` of the run that is done in this folder."""
        import pandas as pd

        return pd.read_csv(self.path / "results.csv")

    def media(self) -> dict[str, Path]:
        """What a dashboard shows or keeps of the run that is done in this folder, by name: figures, pages, tensors."""
        paths = [self.path / name for name in _files_of_a_report(self.path)]
        return {
            path.stem: path for path in paths if path.suffix in (".png", ".html", ".safetensors") and path.is_file()
        }

    def start(self, config_yaml: str, command: str) -> None:
        """Mark the folder as running, remove what an earlier run left in it, and write `config.yaml` for `command`."""
        left = _files_of_a_report(self.path)
        self._started = time.time()
        self._is_ours = True
        self._set_status("running")
        for name in (*_FILES_OF_EVERY_RUN, "provenance.json", TRACEBACK, _TRACKED, *left):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "plots", ignore_errors=True)
        write_text(self.path / "config.yaml", _CONFIG_HEADER.format(command=command) + config_yaml)

    def write_report(self, report: Report, *, figures: bool = True) -> None:
        """Write `results.csv`, `prompts.csv`, `metrics.json`, `plots/*.png` and what else the report holds."""
        from ioi_lab.reports import plots

        drawn = report.draw() if figures else {}
        prompts = {} if report.prompts is None else {"prompts.csv": report.prompts.to_csv(index=False).encode()}
        self._headline = {"headline": report.headline} if report.headline in report.metrics else {}
        self._write(
            {
                "results.csv": report.table.to_csv(index=False).encode(),
                **prompts,
                "metrics.json": json_text(report.metrics).encode(),
                **{f"plots/{name}.png": plots.png(figure) for name, figure in drawn.items()},
                **report.files,
            }
        )

    def _write(self, files: Mapping[str, bytes]) -> None:
        """Write files whose names the status says before they are there, so that none is ever left unnamed."""
        self._files = list(files)
        self._set_status("running")
        for name, content in files.items():
            write_bytes(self.path / name, content)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write `provenance.json`, then mark the folder as done."""
        write_json(self.path / "provenance.json", {"seconds": round(time.time() - self._started, 3), **provenance})
        self._set_status("done")

    def take_over(self, other: Path, identity: Mapping[str, str]) -> bool:
        """Copy what the run with this identity has left in its folder, with where it is from.

        False, and nothing copied, if that run is not whole, or not any more.
        """
        before = _stamp(other)
        status = read_status(other)
        try:
            provenance = json.loads((other / "provenance.json").read_text())
            files = {name: (other / name).read_bytes() for name in _files_of_a_report(other)}
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
        """Whether the run in this folder is on a dashboard."""
        return (self.path / _TRACKED).is_file()

    def record_tracked(self, where: Mapping[str, str]) -> None:
        """Leave where it is."""
        write_json(self.path / _TRACKED, where)

    def fail(self, error: BaseException) -> None:
        """Mark the folder as failed, with the error in one line.

        A folder that cannot be written stays as it is, and so does a run that is done and was only looked at.
        """
        if not self._is_ours and is_done(self.path):
            return
        is_stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        message = "interrupted" if is_stopped else folded(error) or type(error).__name__
        with contextlib.suppress(OSError):  # nothing in it says `done`, and the error that matters is on its way up
            self._set_status("failed", error=message, type=type(error).__name__)

    def _set_status(self, status: str, **details: str) -> None:
        content = {"status": status, "started": _timestamp(self._started), "updated": _timestamp(time.time())}
        files = {"files": self._files} if self._files else {}
        write_json(self.path / STATUS, content | self._headline | files | details)


def _files_of_a_report(folder: Path) -> list[str]:
    """The files that a run in `folder` has written, beside those that say what it was."""
    files = [PurePosixPath(str(name)) for name in read_status(folder).get("files", [])]
    return [str(path) for path in files if not path.is_absolute() and ".." not in path.parts]


def _stamp(folder: Path) -> int:
    """Differs once another run has begun in `folder`."""
    try:
        return (folder / STATUS).stat().st_mtime_ns
    except OSError:
        return 0


def run_folders(root: Path) -> Iterator[Path]:
    """The folders of runs in `root` and below it; what a run keeps below its own is not looked through."""
    for path, below, files in os.walk(root):  # unlike `glob`, it does not mind folders that vanish meanwhile
        if STATUS in files:
            below.clear()
            yield Path(path)


def is_done(folder: Path) -> bool:
    """Whether the run in `folder` is complete; a status that cannot be read counts as not done."""
    return read_status(folder).get("status") == "done"


def done_identity(folder: Path) -> dict[str, str] | None:
    """What the run was that is done in `folder` (see `ioi_lab.identity`); None if its files are not whole."""
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
        is_whole = bool(json.loads((folder / "metrics.json").read_text())) and (folder / "results.csv").is_file()
        return dict(provenance.get("identity", {})) if is_whole else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def read_status(folder: Path) -> dict[str, Any]:
    """What the `status.json` in `folder` says; nothing where it cannot be read."""
    try:
        status = json.loads((folder / STATUS).read_text())
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


@dataclass(frozen=True)
class PastRun:
    """What a finished run has left in its folder."""

    folder: Path
    intervention: dict[str, Any]
    """Its config."""

    model: str
    weights_sha256: str

    @classmethod
    def read(cls, path: str, key: str) -> Self:
        """The run in the folder `path`; a `LabError` that names `key` unless it is there, whole and done."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        folder = Path(path)
        if not (folder / STATUS).is_file():
            raise LabError(f"{key}: {path!r} is no run folder: it has no {STATUS}")
        if not is_done(folder):
            raise LabError(f"{key}: the run in {path!r} is not finished; its {STATUS} does not say done")
        try:
            config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
            provenance = json.loads((folder / "provenance.json").read_text())
            run = cls(
                folder,
                intervention=dict(config["intervention"]),
                model=str(provenance["model"]["name"]),
                weights_sha256=str(provenance["model"]["weights_sha256"]),
            )
        except (OSError, ValueError, TypeError, KeyError, OmegaConfBaseException, YAMLError) as error:
            raise LabError(f"{key}: cannot read the run in {path!r}: {folded(error)}") from error
        return run

    def table(self, key: str) -> pd.DataFrame:
        """Its `results.csv`; a `LabError` that names `key` if that cannot be read."""
        import pandas as pd

        try:
            return pd.read_csv(self.folder / "results.csv")
        except (OSError, ValueError) as error:
            raise LabError(f"{key}: cannot read results.csv in {str(self.folder)!r}: {folded(error)}") from error

    def check_weights(self, weights_sha256: str, model: str, key: str) -> None:
        """Raise a `LabError` that names `key` unless the run was of the model with these weights."""
        if self.weights_sha256 != weights_sha256:
            raise LabError(
                f"{key}: the run in {str(self.folder)!r} is of another model, {self.model}; expected one of {model}"
            )


def environment() -> dict[str, Any]:
    """The part of the provenance that is the same for every run: code, packages, machine and peak memory."""
    return {**_environment(), "peak_memory_mb": _peak_memory_mb()}


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    """What stays the same as long as the process runs: it has read its code when it started."""
    commit = _git("rev-parse", "HEAD")
    return {
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _git(*arguments: str) -> str | None:
    """The output of a git command on the lab's own checkout, or None where there is none."""
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
    """Peak resident memory of this process so far, in MB (10⁶ bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
