"""Composed configs as plain values: every interpolation resolved, every path absolute, every `_target_` checked."""

from __future__ import annotations

import os
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ioi_lab.config import check_targets, may_name_file
from ioi_lab.errors import LabError
from ioi_lab.runs.finding import LATEST, find_run
from ioi_lab.runs.identity import PATH_KEYS

_FILES_OF_RUNS: Final = {
    "from_run": "",
    "circuit": "circuit.json",
    "maps": "maps.safetensors",
    "vector": "vectors.safetensors",
    "translators": "translators.safetensors",
}
"""Config keys that take a run folder, and which file of it they stand for."""


def resolve(config: DictConfig) -> dict[str, Any]:
    """Return a config, without Hydra's own part, as plain values with every interpolation resolved.

    Raises a `LabError` for a key that has no value yet, and for a `_target_` that may not be used.
    """
    try:
        resolved = {str(key): _as_plain(config[key]) for key in config if key != "hydra"}
    except MissingMandatoryValue as error:
        raise LabError(f"{error.full_key}: this key has no value yet; give one with {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        raise LabError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    check_targets(resolved)
    _make_paths_absolute(resolved)
    return resolved


def _as_plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _make_paths_absolute(group: dict[Any, Any], name: str = "") -> None:
    """Make paths absolute, so that the config in the run folder can be run again from anywhere.

    `runs/demo` and `latest` become the run that they stand for now, or its file of vectors, maps or translators.
    """
    for key, value in group.items():
        full = f"{name}.{key}".lstrip(".")
        if isinstance(value, dict):
            _make_paths_absolute(value, full)
        elif key in PATH_KEYS and isinstance(value, str) and _names_file(group, key):
            path = os.path.expanduser(value)
            if key in _FILES_OF_RUNS and (os.path.isdir(path) or value == LATEST):
                path = str(find_run(value, full) / _FILES_OF_RUNS[key])
            group[key] = os.path.realpath(path) if os.path.exists(path) else value


def _names_file(group: dict[Any, Any], key: str) -> bool:
    """Whether a key names a file or folder, and not something on the hub, in the package, or of an earlier version."""
    return group.get("source") not in ("hub", "tiny") and may_name_file(group, key)
