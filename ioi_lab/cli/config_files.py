"""The files of config groups as a reader sees them: their options, their keys, and the comments at both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from ioi_lab.config import config_folders
from ioi_lab.errors import LabError, did_you_mean

ROOTS: Final = ("sweep", "train_align", "study")
"""The root configs: the keys at the top of `ioi-lab sweep`, of `ioi-lab align` and of `ioi-lab study`."""


@dataclass(frozen=True)
class Entry:
    """A key of a config file: its value, the comment at the end of its line, and the keys below it."""

    value: str
    """As it is written in the file."""

    comment: str = ""
    below: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A config group that a file takes an option of: `/model@source: tiny-gpt2`."""

    group: str
    place: str
    option: str
    comment: str = ""


@dataclass(frozen=True)
class ConfigFile:
    """A file of `conf/`, together with the options of the same group that it inherits keys from."""

    description: str
    """The comment at the top of the file."""

    target: str | None
    """The full name of the class that checks the keys."""

    entries: Mapping[str, Entry]
    choices: Sequence[Choice]

    overrides: Sequence[Choice] = ()
    """What a preset (`experiment`) chooses for the groups of the root config."""


def groups() -> list[str]:
    """Return the names of the config groups, without those of Hydra."""
    found = {path.name for folder in config_folders() for path in folder.iterdir() if any(path.glob("*.yaml"))}
    return sorted(found - {"hydra"})


def options_of(group: str) -> list[str]:
    """Return the names of the options of a config group."""
    return sorted({path.stem for folder in config_folders() for path in (folder / group).glob("*.yaml")})


def read_option(group: str, option: str) -> ConfigFile:
    """Return the file of an option of a config group; the group `""` has the root configs.

    Raises a `LabError` that names the nearest group or option for one that does not exist.
    """
    if group and group not in groups():
        raise LabError(f"{group}: no such config group{did_you_mean(group, groups())}; expected {_listed(groups())}")
    options = options_of(group) if group else list(ROOTS)
    if option not in options:
        raise LabError(f"{group}: got {option!r}{did_you_mean(option, options)}, expected {_listed(options)}")
    return _read(_path_of(group, option), group)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _path_of(group: str, option: str) -> Path:
    """Return the file of an option that exists, which Hydra finds in the same order."""
    paths = (folder / group / f"{option}.yaml" for folder in config_folders())
    return next(path for path in paths if path.is_file())


def _read(path: Path, group: str) -> ConfigFile:
    text = path.read_text()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise LabError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    entries = dict(_entries(node, text))
    chosen = list(_choices(node, text))
    target = entries.pop("_target_", None)
    for own_key_of_hydra in ("defaults", "hydra"):
        entries.pop(own_key_of_hydra, None)
    own = ConfigFile(
        _description(text),
        target.value if target else None,
        entries,
        [choice for choice in chosen if choice.place],
        [choice for choice in chosen if choice.group and not choice.place],
    )
    for parent in (choice.option for choice in chosen if group and not choice.group):
        own = _inherited(read_option(group, parent), own)
    return own


def _inherited(parent: ConfigFile, own: ConfigFile) -> ConfigFile:
    """Return a file with the keys of the option that it starts from; a comment of the parent stays if it has none."""
    entries = dict(parent.entries)
    for key, entry in own.entries.items():
        before = parent.entries.get(key)
        entries[key] = Entry(entry.value, entry.comment or (before.comment if before else ""), entry.below)
    choices = [*parent.choices, *own.choices]
    return ConfigFile(own.description, own.target or parent.target, entries, choices, own.overrides)


def _entries(node: Any, text: str) -> Iterator[tuple[str, Entry]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        is_block = isinstance(value, yaml.MappingNode) and not value.flow_style
        comment = _comment(key.end_mark if is_block else value.end_mark, text)
        yield key.value, Entry("" if is_block else _source(value, text), comment, dict(_entries(value, text)))


def _choices(node: Any, text: str) -> Iterator[Choice]:
    """Yield the entries of a list of defaults; one without a group is an option to start from."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    for entry in next((value.value for key, value in pairs if key.value == "defaults"), ()):
        if isinstance(entry, yaml.MappingNode):
            (name, option), *_ = entry.value
            group, _, place = name.value.removeprefix("override ").lstrip("/").partition("@")
            is_set = name.value.startswith("override ")
            comment = _comment(option.end_mark, text)
            yield Choice(group, "" if is_set else place or group, option.value, comment)
        elif entry.value != "_self_":
            yield Choice("", "", entry.value)


def _source(node: Any, text: str) -> str:
    """Return a value as the file has it, in one line."""
    return " ".join(text[node.start_mark.index : node.end_mark.index].split()).strip("'\"")


def _comment(end: Any, text: str) -> str:
    """Return the comment between a mark in the text and the end of its line."""
    _, hash_sign, comment = text[end.index :].partition("\n")[0].partition("# ")
    return comment.strip() if hash_sign else ""


def _description(text: str) -> str:
    """Return the comment at the top of a file as one line."""
    comments: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            comments.append(line.lstrip("# ").strip())
    return " ".join(comments)
