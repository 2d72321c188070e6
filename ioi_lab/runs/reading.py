"""Reading run folders, whatever state they are in: the only place that opens the files of a run that somebody left."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ioi_lab.errors import reason_of
from ioi_lab.runs.parsing import DamagedError, content_of, parsed_list, parsed_mapping, read_json
from ioi_lab.storage.files import sha256_of_files

STATUS: Final = "status.json"
CONFIG: Final = "config.yaml"
PLOTS: Final = "plots"
SUMMARY: Final = "summary.txt"
PAGE: Final = "report.html"
LOCK: Final = ".lock"
TYPED: Final = "typed.yaml"
"""The command of a sweep or a study, by which the same one goes on in its folder."""

_KEPT: Final = (STATUS, CONFIG, "provenance.json", "log.txt")
"""Files of a run folder that are no part of its report."""

State = Literal["running", "stopped", "done", "failed", "damaged"]
Stamp = Mapping[str, Any]
"""The `bytes` and the `sha256` of a file."""


@dataclass(frozen=True)
class RunRecord:
    """What the files in a run folder say of its run."""

    folder: Path
    state: State
    """`stopped`: it says `running`, but no process works in it. `damaged`: its files cannot be read or have changed."""

    reason: str | None = None
    """The error of a failed run, or what is damaged."""

    status: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the run is complete: only then its results count."""
        return self.state == "done"

    @property
    def identity(self) -> dict[str, str]:
        """The identity of a finished run (see `identity_of`); empty if it has none."""
        identity = self.provenance.get("identity")
        return {str(part): str(value) for part, value in identity.items()} if isinstance(identity, dict) else {}

    @property
    def modules(self) -> frozenset[str]:
        """The modules whose code is part of the identity."""
        modules = self.provenance.get("modules")
        return frozenset(map(str, modules)) if isinstance(modules, list) else frozenset()

    def text(self, key: str) -> str | None:
        """Return a text of `status.json`; None if there is none."""
        value = self.status.get(key)
        return value if isinstance(value, str) else None


def read_run(folder: Path, *, contents: bool = False) -> RunRecord:
    """Return what the files in `folder` say. It raises no error: a folder that cannot be read is `damaged`.

    A finished run is damaged if a file that its status lists is missing (figures may be), is a link, or has another
    size than when it was written; with `contents`, also if it has another SHA-256. The page of its report does not
    count: it has nothing that is not in other files.
    """
    try:
        status = read_json(folder / STATUS)
    except DamagedError as error:
        return RunRecord(folder, "damaged", str(error))
    match status.get("status"):
        case "failed":
            return RunRecord(folder, "failed", _text(status.get("error")), status)
        case "running":
            return RunRecord(folder, "running" if _is_locked(folder) else "stopped", None, status)
        case "done":
            try:
                provenance, metrics = read_json(folder / "provenance.json"), read_metrics(folder)
                _check_files(folder, status, contents)
            except DamagedError as error:
                return RunRecord(folder, "damaged", str(error), status)
            return RunRecord(folder, "done", None, status, provenance, metrics)
    return RunRecord(folder, "damaged", f"{STATUS} does not say running, done or failed", status)


def is_done(folder: Path) -> bool:
    """Return whether the run in `folder` is complete."""
    return read_run(folder).is_done


def finished_runs(folders: Iterable[Path]) -> Iterator[RunRecord]:
    """Yield the records of those of the run folders whose run is done and has an identity."""
    for folder in folders:
        record = read_run(folder)
        if record.is_done and record.identity:
            yield record


def read_status(folder: Path) -> dict[str, Any]:
    """Return the content of the `status.json` in `folder`; empty if it cannot be read."""
    try:
        return read_json(folder / STATUS)
    except DamagedError:
        return {}


def report_files(status: Mapping[str, Any]) -> dict[str, Stamp | None]:
    """Return the files that the report of a run consists of, by name, with their stamps.

    Only names of files in the folder itself and in its `plots` are returned, whatever the status says.
    """
    return {name: stamp for name, stamp in _listed(status) if _is_plain(name) and name not in _KEPT}


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return the `metrics.json` in a folder; raises `DamagedError` for one without metrics."""
    metrics = read_json(folder / "metrics.json")
    if not metrics or not all(map(_is_number, metrics.values())):
        raise DamagedError("metrics.json has no metrics, or some that are no numbers")
    return metrics


def read_config(folder: Path) -> dict[str, Any]:
    """Return the `config.yaml` in a folder, without Hydra's defaults; raises `DamagedError` if it cannot be read.

    The values are shared with other configs and must not be changed.
    """
    content = parsed_mapping(content_of(folder / CONFIG), CONFIG)
    if not isinstance(content, dict) or not content:
        raise DamagedError(f"{CONFIG} has no keys")
    return {str(key): value for key, value in content.items() if key != "defaults"}


def read_typed(folder: Path) -> list[str]:
    """Return the overrides that were typed for a run; raises `DamagedError` if they cannot be read."""
    path = folder / ".hydra" / "overrides.yaml"
    if not path.exists():
        return []
    overrides = parsed_list(content_of(path), path.name)
    if not isinstance(overrides, list):
        raise DamagedError(f"{path.name} is not a list")
    return [str(override) for override in overrides]


def _listed(status: Mapping[str, Any]) -> Iterator[tuple[str, Stamp | None]]:
    """Yield the files that a status lists; runs of earlier versions have no stamps."""
    files = status.get("files")
    if isinstance(files, dict):
        yield from ((name, stamp if isinstance(stamp, dict) else None) for name, stamp in files.items())
    elif isinstance(files, list):
        yield from ((str(name), None) for name in files)


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file in a run folder or in its `plots`, and cannot lead out of it."""
    parts = name.split("/")
    is_here = len(parts) == 1 or (len(parts) == 2 and parts[0] == PLOTS)
    return is_here and name.isprintable() and all(part and not part.startswith(".") for part in parts)


def _check_files(folder: Path, status: Mapping[str, Any], contents: bool) -> None:
    files = dict(_listed(status))
    if (folder / PLOTS).is_symlink():
        raise DamagedError(f"{PLOTS} is a link")
    for name, stamp in (files | {name: files.get(name) for name in ("results.csv", "metrics.json")}).items():
        if name == PAGE:
            continue
        if not _is_plain(name):
            raise DamagedError(f"{STATUS} lists {name!r}, which is not the name of a file in the folder")
        try:
            about = os.lstat(f"{folder}/{name}")  # pathlib takes longer than the system
        except FileNotFoundError as error:
            if (stamp is None and name in files) or name.startswith(f"{PLOTS}/"):
                continue
            raise DamagedError(f"{name} is missing") from error
        except OSError as error:
            raise DamagedError(f"{name} cannot be read: {reason_of(error)}") from error
        _check_file(folder, about, stamp, name, contents)


def _check_file(folder: Path, about: os.stat_result, stamp: Stamp | None, name: str, contents: bool) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise DamagedError(f"{name} is not a plain file")
    if stamp is None:
        if about.st_size == 0:
            raise DamagedError(f"{name} is empty")
        return
    if about.st_size != stamp.get("bytes"):
        raise DamagedError(f"{name} has {about.st_size} bytes and was written with {stamp.get('bytes')}")
    if contents and _sha256(folder / name) != stamp.get("sha256"):
        raise DamagedError(f"{name} has changed since it was written")


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of_files([path])
    except OSError:
        return None


def _is_locked(folder: Path) -> bool:
    """Return whether a process works in a run folder; True if this system cannot tell."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        with contextlib.suppress(OSError):
            os.close(lock)
    return False


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 1000)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
