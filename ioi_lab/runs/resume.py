"""Which earlier sweep a multirun goes on with, and which earlier runs its jobs equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from ioi_lab.runs.folder import done_identity, is_done, run_folders
from ioi_lab.storage.files import read_yaml, write_json, write_text

TYPED: Final = "typed.yaml"
EARLIER: Final = "earlier.json"
_MAX_RUNS_READ: Final = 10_000
"""Of the runs of a name, only so many of the latest are looked at."""


def is_placed(config: DictConfig) -> bool:
    """Whether the user says in which folder a multirun is to land: then no other one is looked for."""
    return any(line.startswith("hydra.sweep.dir=") for line in _plain(config.hydra.overrides.hydra))


def earlier_sweep(config: DictConfig) -> Path | None:
    """The folder of the latest sweep of the same name that was typed in the same way, or None."""
    paths = Path(config.hydra.sweep.dir).parent.glob(f"*/{TYPED}")
    wanted = _origin(config)
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        if _read(path) == wanted:
            return path.parent
    return None


def record_typed(folder: Path, config: DictConfig) -> None:
    """Leave what `earlier_sweep` looks for."""
    write_text(folder / TYPED, OmegaConf.to_yaml(OmegaConf.create(_origin(config))))


def land_in(folder: Path, config: DictConfig) -> None:
    """Let a multirun and all its jobs land in this folder, whatever a job's own values would make of its name."""
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.sweep.dir = str(folder)
    config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")  # which each job composes its config with


def record_finished_runs(folder: Path, code: str) -> None:
    """Leave, for the jobs of the sweep in `folder`, which runs of the same name are done with this code.

    Each job looks there, on whichever host, instead of at all runs.
    """
    runs = {_key(same): str(run.relative_to(folder.parent)) for run, same in _done(folder) if same.get("code") == code}
    write_json(folder / EARLIER, runs)


def earlier_run(sweep: Path, identity: Mapping[str, str]) -> Path | None:
    """The folder of a run that was done, when `sweep` began, as one of its jobs with this identity would do it."""
    name = _said(sweep / EARLIER).get(_key(identity))
    return None if name is None else sweep.parent / name


def _done(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The runs that are done beside the sweep in `folder`, the latest sweep last, and what they were."""
    sweeps = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    runs = [run for sweep in sweeps if sweep != folder for run in run_folders(sweep)]
    for run in runs[-_MAX_RUNS_READ:]:
        if is_done(run) and (same := done_identity(run)):
            yield run, same


@lru_cache(maxsize=1)  # the jobs of a process belong to one sweep, whose file is there before they are
def _said(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _key(same: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(same), sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Any:
    try:
        return read_yaml(path)
    except (OSError, ValueError):  # damaged
        return None


def _origin(config: DictConfig) -> dict[str, Any]:
    """What was typed, what it was typed for, and what a preset of a search says."""
    hydra = config.hydra
    return {
        "task": [
            override for override in _plain(hydra.overrides.task) if not override.lstrip("+").startswith("resume=")
        ],
        "hydra": [
            override
            for override in _plain(hydra.overrides.hydra)
            if not override.lstrip("+~").startswith(("hydra.sweep.dir=", "hydra.launcher", "hydra/launcher"))
        ],
        "config": hydra.job.config_name,
        "sources": [source.path for source in hydra.runtime.config_sources],
        "sweeper": _plain(hydra.sweeper),
    }


def _plain(part: Any) -> Any:
    """As it was typed: what stands for a job's own values has none yet."""
    return OmegaConf.to_container(part, resolve=False, enum_to_str=True)
