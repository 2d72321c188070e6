"""Resuming: the earlier sweep that a multirun continues, and the earlier runs that its jobs can take over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from ioi_lab.runs.finding import run_folders
from ioi_lab.runs.parsing import DamagedError, read_json, read_yaml_file
from ioi_lab.runs.reading import LOCK, TYPED, RunRecord, finished_runs
from ioi_lab.storage.files import write_json, write_text

EARLIER: Final = "earlier.json"
_ANY_WAY_OF_RUNNING: Final = (
    "hydra.sweep.dir=",
    "hydra.launcher",
    "hydra/launcher",
    "hydra.job_logging.",
    "hydra.hydra_logging.",
)
"""Settings that make no other sweep."""

_MAX_RUNS_READ: Final = 10_000
"""The largest number of earlier runs that are read, the latest first."""


@contextlib.contextmanager
def choosing(config: DictConfig) -> Iterator[None]:
    """Hold the lock under which a multirun chooses its folder, so that two equal ones choose the same.

    Nothing is locked in a folder that cannot be written, which Hydra reports.
    """
    from filelock import FileLock

    folder = Path(config.hydra.sweep.dir).parent
    lock = FileLock(folder / LOCK)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
        yield


def is_placed(config: DictConfig) -> bool:
    """Return whether the user has typed a folder for the multirun; then no earlier sweep is looked for."""
    return any(line.startswith("hydra.sweep.dir=") for line in _unresolved(config.hydra.overrides.hydra))


def earlier_sweep(config: DictConfig) -> Path | None:
    """Return the folder of the latest sweep with the same name and the same command, or None."""
    paths = Path(config.hydra.sweep.dir).parent.glob(f"*/{TYPED}")
    wanted = _command_of(config)
    for path in sorted(paths, key=_modified, reverse=True):
        if _read_or_none(path) == wanted:
            return path.parent
    return None


def record_typed(folder: Path, config: DictConfig) -> None:
    """Write the command of a sweep into its folder, for `earlier_sweep`."""
    write_text(folder / TYPED, OmegaConf.to_yaml(OmegaConf.create(_command_of(config))))


def land_in(folder: Path, config: DictConfig) -> None:
    """Make a multirun and all its jobs write into this folder, even if a job's own values would change its name."""
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.sweep.dir = str(folder)
    # Each job composes its config from these.
    config.hydra.overrides.hydra.append(f"hydra.sweep.dir={_quoted(str(folder))}")


def put_aside_what_is_no_folder(sweep: Path) -> list[Path]:
    """Rename what is in the place of a job's folder and cannot be one; returns the new names.

    That is a broken link, a file with the number of a job as its name, or a folder that cannot be entered and written.
    """
    moved = []
    for path in sorted(sweep.iterdir()) if sweep.is_dir() else []:
        is_usable = path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
        is_broken_link = path.is_symlink() and not path.exists() and not path.name.startswith(".")
        if is_usable or not (path.name.isdecimal() or is_broken_link):
            continue
        moved.append(path.with_name(f".{path.name}.unusable-{uuid.uuid4().hex[:8]}"))
        path.rename(moved[-1])
    return moved


def forget(sweep: Path) -> None:
    """Remove the folder of a sweep in which no job has begun; a folder with other files in it stays."""
    with contextlib.suppress(OSError):
        for name in (TYPED, EARLIER, "multirun.yaml"):
            (sweep / name).unlink(missing_ok=True)
        sweep.rmdir()


def _quoted(text: str) -> str:
    """Return a value of an override that Hydra reads as this text; backslashes count only in front of quotes."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"


def record_finished_runs(folder: Path) -> None:
    """Write into the folder of a sweep which runs of the same name are finished.

    Each job, on whichever host, reads this one file instead of all runs.
    """
    runs = {
        _key(record.identity): str(record.folder.relative_to(folder.parent)) for record in _runs_of_other_sweeps(folder)
    }
    write_json(folder / EARLIER, runs)


def earlier_run(sweep: Path, identity: Mapping[str, str]) -> Path | None:
    """Return the folder of a run with this identity that was finished when `sweep` began, or None."""
    name = _recorded_runs(sweep / EARLIER).get(_key(identity))
    return None if name is None else sweep.parent / name


def _runs_of_other_sweeps(folder: Path) -> Iterator[RunRecord]:
    """Return the finished runs of all sweeps next to the one in `folder`, the latest last."""
    sweeps = sorted(folder.parent.iterdir(), key=_modified)
    runs = [run for sweep in sweeps if sweep != folder for run in run_folders(sweep)]
    return finished_runs(runs[-_MAX_RUNS_READ:])


@lru_cache(maxsize=1)  # the jobs of a process belong to one sweep, whose file is written before the first of them
def _recorded_runs(path: Path) -> dict[str, str]:
    try:
        return {key: name for key, name in read_json(path).items() if isinstance(name, str)}
    except DamagedError:
        return {}


def _key(identity: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def _read_or_none(path: Path) -> Any:
    try:
        return read_yaml_file(path)
    except DamagedError:
        return None


def _modified(path: Path) -> float:
    """Return when a file or folder was modified; 0 for a broken link."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _command_of(config: DictConfig) -> dict[str, Any]:
    """Return everything that makes two commands the same sweep: entry point, overrides and the sweeper's settings."""
    hydra = config.hydra
    return {
        "task": [
            override for override in _unresolved(hydra.overrides.task) if not override.lstrip("+").startswith("resume=")
        ],
        "hydra": [
            override
            for override in _unresolved(hydra.overrides.hydra)
            if not override.lstrip("+~").startswith(_ANY_WAY_OF_RUNNING)
        ],
        "config": hydra.job.config_name,
        "sources": [source.path for source in hydra.runtime.config_sources],
        "sweeper": _unresolved(hydra.sweeper),
    }


def _unresolved(part: Any) -> Any:
    """Return a part of a config as plain values, as typed: interpolations of a job's values cannot be resolved yet."""
    return OmegaConf.to_container(part, resolve=False, enum_to_str=True)
