"""Where a key or a config group belongs that was typed in the wrong place, or in the wrong program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from omegaconf import OmegaConf

from ioi_lab.config import CONFIG_FOLDER

PROGRAMS: Final = {"sweep": "sweep.py", "train_align": "train_align.py"}
"""The entry points by the names of their root configs."""

_HYDRA_GROUPS: Final = ("launcher", "sweeper")


def elsewhere(key: str, value: str, root: str) -> str | None:
    """Return the line for a key that exists in another place than it was typed; None if it does not.

    Args:
        key: The key as it was typed, such as `model@source` or `intervention.layer`.
        value: What was typed for it.
        root: The name of the root config of the entry point.

    """
    group, _, place = key.partition("@")
    if group in _HYDRA_GROUPS:
        return f"{key}: no such key; write hydra/{group}={value}"
    if (CONFIG_FOLDER / group).is_dir() and key not in _top(root) and (places := list(_places(group, root))):
        near = [full for full in places if place and full.endswith(f".{place.rpartition('.')[2]}")] or places
        return f"{key}: no such key; write {' or '.join(f'{full}={value}' for full in near)}"
    top = key.partition(".")[0].partition("@")[0]
    for other, program in PROGRAMS.items():
        if other != root and top not in _top(root) and top in _top(other):
            own = ", ".join(name for name in _top(root) if name not in ("run_folder", "experiment", "hparams_search"))
            return f"{key}: this is a key of {program}; {PROGRAMS[root]} has {own}"
    return None


def _places(group: str, root: str) -> Iterator[str]:
    """Yield the full names under which a program takes a config group: `model@intervention.source`."""
    for file in (CONFIG_FOLDER / f"{root}.yaml", *sorted(CONFIG_FOLDER.glob("*/*.yaml"))):
        above = "" if file.parent == Path(CONFIG_FOLDER) else f"{file.parent.name}."
        if above and file.parent.name not in _top(root):
            continue
        for name in _defaults(file):
            own, at, place = name.lstrip("/").partition("@")
            if own == group and at:
                yield f"{group}@{above}{place}"


def _top(root: str) -> list[str]:
    """Return the keys at the top of a root config, as its file names them."""
    config: Any = OmegaConf.load(CONFIG_FOLDER / f"{root}.yaml")
    groups = [name.rpartition("@")[2] for name in _defaults(CONFIG_FOLDER / f"{root}.yaml")]
    return [*groups, *(str(key) for key in config if key != "defaults")]


def _defaults(file: Path) -> Iterator[str]:
    """Yield the config groups of a file's list of defaults, without `override`s."""
    config: Any = OmegaConf.load(file)
    for entry in config.get("defaults", []) if OmegaConf.is_dict(config) else []:
        if OmegaConf.is_dict(entry):
            yield from (str(name) for name in entry if not str(name).startswith("override "))
