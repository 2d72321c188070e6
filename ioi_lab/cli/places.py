"""Where a key or a config group belongs that was typed in the wrong place, or in the wrong program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from omegaconf import OmegaConf

from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.programs import typed_name

PROGRAMS: Final = {"sweep": "sweep", "train_align": "align", "study": "study"}
"""The subcommands by the names of their root configs."""

_NOT_NAMED: Final = ("run_folder", "experiment", "hparams_search", "hydra")
_MAX_NAMED: Final = 4
"""The greatest number of places that a line names."""

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
    if (CONFIG_FOLDER / group).is_dir() and key not in _top(root) and (places := _places_of(group, root)):
        if needed := [option for full, option in places if full == key and option]:
            return f"{key}: this goes with {' or '.join(needed)} only; add it"
        near = [each for each in places if place and each[0].endswith(f".{place.rpartition('.')[2]}")] or places
        written = [_written(full, value, option) for full, option in near]
        return f"{key}: no such key; write {' or '.join(written[:_MAX_NAMED])}{', …' * (len(written) > _MAX_NAMED)}"
    top = key.partition(".")[0].partition("@")[0]
    for other, program in PROGRAMS.items():
        if other != root and top not in _top(root) and top in _top(other):
            own = ", ".join(name for name in _top(root) if name not in _NOT_NAMED and "." not in name)
            return f"{key}: this is a key of {typed_name(program)}; {typed_name(PROGRAMS[root])} has {own}"
    return None


def groups_of(root: str) -> dict[str, str]:
    """Return the config groups of a root config by their places: `source` stands for `model@source`."""
    return {name.rpartition("@")[2]: name for name in _defaults(CONFIG_FOLDER / f"{root}.yaml")}


def _places_of(group: str, root: str) -> list[tuple[str, str | None]]:
    return [each for each in _places(root) if each[0].partition("@")[0] == group]


def instead_of(key: str) -> str | None:
    """Return the config group that is chosen at a place of the config: `model@intervention.source`; None if none is."""
    names = (full for root in PROGRAMS for full, _ in _places(root))
    return next((full for full in names if full.partition("@")[2] == key), None)


def _written(full: str, value: str, option: str | None) -> str:
    return f"{full}={value}" + (f", with {option}" if option else "")


def _places(root: str) -> Iterator[tuple[str, str | None]]:
    """Yield the full names under which a program takes config groups, and the option that it takes each with.

    An example is `model@intervention.source`, with `intervention=transfer`.
    """
    top = _top(root)
    for file in (CONFIG_FOLDER / f"{root}.yaml", *sorted(CONFIG_FOLDER.glob("*/*.yaml"))):
        above = "" if file.parent == Path(CONFIG_FOLDER) else file.parent.name
        if above and above not in top:
            continue
        for name in _defaults(file):
            group, at, place = name.lstrip("/").partition("@")
            if at:
                yield f"{group}@{f'{above}.' if above else ''}{place}", f"{above}={file.stem}" if above else None


def _top(root: str) -> list[str]:
    """Return the keys at the top of a root config, as its file names them."""
    config: Any = OmegaConf.load(CONFIG_FOLDER / f"{root}.yaml")
    groups = [name.rpartition("@")[2] for name in _defaults(CONFIG_FOLDER / f"{root}.yaml")]
    return [*groups, *(str(key) for key in config if key != "defaults")]


def _defaults(file: Path) -> Iterator[str]:
    """Yield the config groups of a file's list of defaults, without `override`s."""
    text = file.read_text()
    if "defaults:" not in text:  # most files, which need not be parsed
        return
    config: Any = OmegaConf.create(text)
    for entry in config.get("defaults", []):
        if OmegaConf.is_dict(entry):
            yield from (str(name) for name in entry if not str(name).startswith("override "))
