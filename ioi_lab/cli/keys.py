"""Every key of a config option with its default, what it accepts and its meaning: for `ioi-lab info` and the reference.

Defaults and order are those of the files in `conf/`, what is accepted is in the annotations of the config classes, and
the meaning is the comment in the file or, if there is none, the docstring of the field.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.cli.accepted import accepted
from ioi_lab.cli.config_files import ROOTS, Choice, ConfigFile, Entry, options_of, read_option
from ioi_lab.config import class_called
from ioi_lab.errors import LabError
from ioi_lab.jobs.alignment import AlignmentKeys
from ioi_lab.jobs.experiment import ExperimentKeys
from ioi_lab.models.loading import ModelConfig
from ioi_lab.runs.tracking import TrackerConfig
from ioi_lab.studies.config import StudyKeys

CLASS_OF_GROUP: Final[Mapping[str, type[BaseModel]]] = {
    "model": ModelConfig,
    "tracker": TrackerConfig,
    "alignment": AlignmentConfig,
    "sweep": ExperimentKeys,
    "train_align": AlignmentKeys,
    "study": StudyKeys,
}
"""The classes of config groups, and of root configs, whose files name none."""


@dataclass(frozen=True)
class KeyRow:
    """A config key as a reference lists it."""

    key: str
    """As it is typed: `intervention.scale`, or `model@intervention.source` for a config group."""

    default: str
    """As it is typed; `???` if there is none and the key must be given."""

    accepts: str
    """The choices, or the kind of value."""

    meaning: str


def rows_of(group: str, option: str) -> list[KeyRow]:
    """Return the keys of an option of a config group, such as `intervention` and `steer`, in the order of its file.

    The group `""` has the root configs `sweep`, `train_align` and `study`: the keys at the top of a command.

    Raises a `LabError` that names the nearest group or option for one that does not exist, and for a file whose class
    cannot be imported.
    """
    file = read_option(group, option)
    return list(_rows(file, _class_of(file, group, option), group).values())


def _class_of(file: ConfigFile, group: str, option: str) -> type[BaseModel] | None:
    if file.target is None:
        return CLASS_OF_GROUP.get(group or option)
    found, reason = class_called(file.target, f"{group}._target_")
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise LabError(f"{group}._target_: got {file.target!r}, expected the full name of a config class{reason}")
    return found


def _rows(file: ConfigFile, cls: type[BaseModel] | None, place: str) -> dict[str, KeyRow]:
    """Return the rows of a file by key; a value that it sets in a group that it chooses replaces the group's own."""
    rows = {row.key: row for choice in file.choices for row in _rows_of_choice(choice, place)}
    below = {} if place else _rows_below(file)
    for row in _rows_of_entries(file.entries, cls, place):
        known = rows.get(row.key) or below.get(row.key)
        meaning = row.meaning or (known.meaning if known else "")
        rows[row.key] = replace(known or row, default=row.default, meaning=meaning)
    return rows


def _rows_below(file: ConfigFile) -> dict[str, KeyRow]:
    """Return the keys of the options that a root config chooses at places below the top: the steps of a study.

    Of these, a root config lists only the keys that it sets.
    """
    rows: dict[str, KeyRow] = {}
    for choice in file.choices:
        if "." in choice.place:
            option = read_option(choice.group, choice.option)
            rows |= _rows(option, _class_of(option, choice.group, choice.option), choice.place)
    return rows


def _rows_of_choice(choice: Choice, place: str) -> Iterator[KeyRow]:
    """Yield the row of a config group at a place of the config and, if it is below another, the keys of its default.

    A group without a default (`null`) has no keys.
    """
    full = ".".join(filter(None, [place, choice.place]))
    key = choice.group if choice.group == full else f"{choice.group}@{full}"
    yield KeyRow(
        key, choice.option, ", ".join(options_of(choice.group)), choice.comment or _GROUPS.get(choice.group, "")
    )
    if place and choice.option != "null":
        file = read_option(choice.group, choice.option)
        yield from _rows(file, _class_of(file, choice.group, choice.option), full).values()


_GROUPS: Final = {
    "model": "the model; `ioi-lab info model` lists them",
    "task": "the prompts",
    "intervention": "what is done to the model, or read from it",
    "tracker": "where results go in addition to the run folder",
    "experiment": "a preset: several keys at once",
    "hparams_search": "a preset for a search over keys, with -m",
    "corpus": "the texts that maps are fitted on",
    "alignment": "how, and between which layers, maps are fitted",
    "lens": "how the residual stream is read",
}
"""What a config group chooses."""


def _rows_of_entries(entries: Mapping[str, Entry], cls: type[BaseModel] | None, place: str) -> Iterator[KeyRow]:
    fields = {} if cls is None else {info.alias or key: (key, info) for key, info in cls.model_fields.items()}
    for key, entry in entries.items():
        name, info = fields.get(key, (key, None))
        full = f"{place}.{key}".lstrip(".")
        if entry.below:
            yield from _rows_of_entries(entry.below, _model_of(info), full)
            continue
        meaning = entry.comment or (_docstrings(cls).get(name, "") if cls is not None else "")
        yield KeyRow(full, entry.value, accepted(info.annotation, info.metadata) if info else "", meaning)


def _model_of(info: FieldInfo | None) -> type[BaseModel] | None:
    cls: Any = info.annotation if info else None
    return cls if isinstance(cls, type) and issubclass(cls, BaseModel) else None


@lru_cache(maxsize=128)
def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings of the fields of a class and of the classes that it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel and "[" not in each.__name__:
            found |= _own_docstrings(each)
    return found


def _own_docstrings(cls: type) -> dict[str, str]:
    """Return the strings that follow the fields of a class in its source; none if the source is not at hand."""
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, SyntaxError, ValueError):
        return {}
    found = {}
    body = node.body if isinstance(node, ast.ClassDef) else []
    for statement, after in pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            found[statement.target.id] = " ".join(after.value.value.split())
    return found


def rows_of_every_option() -> dict[tuple[str, str], list[KeyRow]]:
    """Return the keys of all root configs and of all options with keys of their own, by group and option."""
    found = {("", root): rows_of("", root) for root in ROOTS}
    for group in _GROUPS:
        if group not in ("experiment", "hparams_search"):
            found |= {(group, option): rows_of(group, option) for option in options_of(group)}
    return found
