"""Which earlier sweep a multirun goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from ioi_lab.files import read_yaml, write_text

MULTIRUN: Final = "multirun.yaml"
_MOST_READ: Final = 200
"""Of the sweeps that there are, only so many of the latest are looked at."""


def earlier_sweep(config: DictConfig, root: Path = Path("runs")) -> Path | None:
    """The folder of the latest sweep that was typed in the same way, or None.

    None too with `resume=false`, and where the user says in which folder the sweep is to land.
    """
    typed = list(config.hydra.overrides.task)
    if "resume=false" in (override.lower() for override in typed):
        return None
    if any(override.startswith("hydra.sweep.dir=") for override in config.hydra.overrides.hydra):
        return None
    paths = sorted(root.glob(f"*/*/{MULTIRUN}"), key=lambda path: path.stat().st_mtime, reverse=True)
    wanted = _origin(OmegaConf.to_container(config, resolve=False))
    for path in paths[:_MOST_READ]:
        if _read(path) == wanted:
            return path.parent
    return None


def say_what_was_typed(folder: Path, config: DictConfig) -> None:
    """Leave what `earlier_sweep` looks for; of Hydra's sweepers only the basic one does."""
    write_text(folder / MULTIRUN, OmegaConf.to_yaml(config))


def go_on_in(folder: Path, config: DictConfig) -> None:
    """Let a multirun and all its jobs land in this folder."""
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.sweep.dir = str(folder)
    config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")  # which each job composes its config with


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return _origin(read_yaml(path))
    except (OSError, ValueError, KeyError, TypeError):  # of another program, or damaged
        return None


def _origin(config: Any) -> dict[str, Any]:
    """What was typed, and what it was typed for."""
    hydra: Mapping[str, Any] = config["hydra"]
    return {
        "task": [override for override in hydra["overrides"]["task"] if not override.startswith("resume=")],
        "hydra": [
            override
            for override in hydra["overrides"]["hydra"]
            if not override.lstrip("+~").startswith(("hydra.sweep.dir=", "hydra.launcher", "hydra/launcher"))
        ],
        "config": hydra["job"]["config_name"],
        "sources": [source["path"] for source in hydra["runtime"]["config_sources"]],
    }
