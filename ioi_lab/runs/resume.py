"""Resuming: the earlier sweep that a multirun continues, and the earlier runs that its jobs can take over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from ioi_lab.runs.folder import finished_runs, run_folders
from ioi_lab.storage.files import read_yaml, write_json, write_text

TYPED: Final = "typed.yaml"
EARLIER: Final = "earlier.json"
_MAX_RUNS_READ: Final = 10_000
"""The largest number of earlier runs that are read, the latest first."""


def is_placed(config: DictConfig) -> bool:
    """Return whether the user has typed a folder for the multirun; then no earlier sweep is looked for."""
    return any(line.startswith("hydra.sweep.dir=") for line in _unresolved(config.hydra.overrides.hydra))


def earlier_sweep(config: DictConfig) -> Path | None:
    """Return the folder of the latest sweep with the same name and the same command, or None."""
    paths = Path(config.hydra.sweep.dir).parent.glob(f"*/{TYPED}")
    wanted = _command_of(config)
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
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
    config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")  # each job composes its config from these


def record_finished_runs(folder: Path, code: str) -> None:
    """Write into the folder of a sweep which finished runs of the same name were measured with this code.

    Each job, on whichever host, reads this one file instead of all runs.
    """
    runs = {
        _key(identity): str(run.relative_to(folder.parent))
        for run, identity in _runs_of_other_sweeps(folder)
        if identity.get("code") == code
    }
    write_json(folder / EARLIER, runs)


def earlier_run(sweep: Path, identity: Mapping[str, str]) -> Path | None:
    """Return the folder of a run with this identity that was finished when `sweep` began, or None."""
    name = _recorded_runs(sweep / EARLIER).get(_key(identity))
    return None if name is None else sweep.parent / name


def _runs_of_other_sweeps(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Return the finished runs, with their identities, of all sweeps next to the one in `folder`, the latest last."""
    sweeps = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    runs = [run for sweep in sweeps if sweep != folder for run in run_folders(sweep)]
    return finished_runs(runs[-_MAX_RUNS_READ:])


@lru_cache(maxsize=1)  # the jobs of a process belong to one sweep, whose file is written before the first of them
def _recorded_runs(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _key(identity: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def _read_or_none(path: Path) -> Any:
    try:
        return read_yaml(path)
    except (OSError, ValueError):  # damaged
        return None


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
            if not override.lstrip("+~").startswith(("hydra.sweep.dir=", "hydra.launcher", "hydra/launcher"))
        ],
        "config": hydra.job.config_name,
        "sources": [source.path for source in hydra.runtime.config_sources],
        "sweeper": _unresolved(hydra.sweeper),
    }


def _unresolved(part: Any) -> Any:
    """Return a part of a config as plain values, as typed: interpolations of a job's values cannot be resolved yet."""
    return OmegaConf.to_container(part, resolve=False, enum_to_str=True)
