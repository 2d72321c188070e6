"""Typed configs: every Hydra config group is checked against a pydantic model before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ioi_lab.errors import LabError, folded
from ioi_lab.plugins import import_trusted, why_untrusted

ConfigT = TypeVar("ConfigT", bound="LabConfig")

_PACKAGE: Final = Path(__file__).resolve().parent

CONFIG_FOLDER: Final = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())
"""The folder of the lab's config groups: in the package if it is installed, at the top of the repository in a clone."""

_SHARED_ROOT: Final = "run_folder.yaml"
"""A file of the lab's own folder of config groups."""

_OLD_TARGETS: Final[Mapping[str, str]] = {
    f"ioi_lab.interventions.{module}.{name}": f"ioi_lab.interventions.{module}.config.{name}"
    for module, name in (
        ("steer", "Steer"),
        ("transfer", "Transfer"),
        ("head_roles", "HeadRoles"),
        ("logit_lens", "LogitLens"),
        ("attention", "Attention"),
        ("logit_attribution", "LogitAttribution"),
    )
}
"""Classes that have moved: the `config.yaml` of an earlier run names them by their old place."""


def own_config_folder() -> Path | None:
    """Return the folder of the user's own config groups: `conf/` in the current folder.

    None if there is none, or if it is that of a clone of the lab.
    """
    own = Path("conf")
    return own.absolute() if own.is_dir() and not (own / _SHARED_ROOT).is_file() else None


def config_folders() -> list[Path]:
    """Return the folders of all config groups, in the order in which an option is looked for."""
    own = own_config_folder()
    return [CONFIG_FOLDER] if own is None else [CONFIG_FOLDER, own]


@dataclass(frozen=True)
class Renamed:
    """The new name of a config key, and the new names of its values, if they have changed too."""

    key: str
    values: Mapping[Any, Any] = field(default_factory=dict)


class LabConfig(BaseModel):
    """The base of all configs: unknown keys and silent type conversions are refused, instances never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    renamed_keys: ClassVar[Mapping[str, Renamed]] = {}
    """Keys of earlier versions: the `config.yaml` of an earlier run still has them, and can be run again."""

    names_or_paths: ClassVar[frozenset[str]] = frozenset()
    """Keys whose value is a name, unless it is written as a path (`./x`, `/x`, `~/x`): see `is_written_as_path`."""

    def __hash__(self) -> int:
        return hash(repr(self))  # fields that are lists cannot be hashed

    @classmethod
    def from_config(cls, values: Mapping[str, Any], group: str) -> Self:
        """Check the `values` of the config group `group`.

        Raises a `LabError` that names the full key, the value and the choices.
        """
        _check_is_group(values, group)
        try:
            return cls.model_validate(cls._with_new_keys(values, group))
        except ValidationError as error:
            raise LabError(_one_line(error, group)) from error

    @classmethod
    def _with_new_keys(cls, values: Mapping[str, Any], group: str) -> dict[str, Any]:
        named = dict(values)
        for old, new in cls.renamed_keys.items():
            if old not in named or old in cls.model_fields:
                continue
            if new.key in named:
                raise LabError(f"{group}.{old}: this key is now {group}.{new.key}")
            value = named.pop(old)
            named[new.key] = new.values.get(value, value) if isinstance(value, str) else value
        return named

    def check(self) -> None:
        """Raise a `LabError` for mistakes that need no model but that the schema cannot express: a missing file."""


def instantiate(values: Mapping[str, Any], group: str, base: type[ConfigT]) -> ConfigT:
    """Return the checked config of the class that `_target_` names, which must inherit from `base`.

    Raises a `LabError` for another `_target_`, and like `LabConfig.from_config`. The class is imported only if
    `ioi_lab.plugins` accepts its name.
    """
    _check_is_group(values, group)
    arguments = dict(values)
    target = arguments.pop("_target_", None)
    cls, reason = class_called(target, f"{group}._target_")
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise LabError(
            f"{group}._target_: got {target!r}, expected the full name of a class that inherits {base.__name__}{reason}"
        )
    return cls.from_config(arguments, group)


def is_written_as_path(value: str) -> bool:
    """Return whether a value that may be a name is a path: only by how it is written, not by what files there are."""
    return value.startswith(("/", "./", "../", "~")) or value in (".", "..")


def may_name_file(values: Mapping[str, Any], key: str) -> bool:
    """Return whether the value of `key`, in a group of a resolved config, is a path for the class of the group.

    Keys of earlier versions are none, nor are the names of keys that take a name or a path.
    """
    target = values.get("_target_")
    cls = class_called(target, "_target_")[0] if target is not None else None
    if not (isinstance(cls, type) and issubclass(cls, LabConfig)):
        return True
    if key in cls.names_or_paths:
        return is_written_as_path(str(values[key]))
    return key in cls.model_fields or key not in cls.renamed_keys


def check_targets(values: Any, key: str = "") -> None:
    """Raise a `LabError` if a `_target_` anywhere in a config may not be used; nothing is imported.

    Args:
        values: The config, or a part of it: any nesting of mappings and lists.
        key: The key of that part, for the error.

    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            full = f"{key}.{name}".lstrip(".")
            if name == "_target_":
                _check_target(value, full)
            check_targets(value, full)
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            check_targets(value, f"{key}.{index}")


def _check_target(target: object, key: str) -> str:
    reason = why_untrusted(target) if isinstance(target, str) else "the full name of a class"
    if reason is not None:
        raise LabError(f"{key}: got {target!r}, expected {reason}")
    return _OLD_TARGETS.get(str(target), str(target))


def class_called(target: object, key: str) -> tuple[object, str]:
    """Return the object that a `_target_` names, or None and the reason in brackets.

    Raises a `LabError` that names `key` for a name that `ioi_lab.plugins` does not accept.
    """
    module, _, name = _check_target(target, key).rpartition(".")
    try:
        return getattr(import_trusted(module), name, None), ""
    except (ImportError, SyntaxError) as error:
        return None, f" (cannot import {module!r}: {folded(error)})"


def _check_is_group(values: object, group: str) -> None:
    if not isinstance(values, Mapping):
        raise LabError(f"{group}: got {values!r}, expected a valid dictionary")


def _one_line(error: ValidationError, group: str) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join([group, *(str(part) for part in first["loc"] if _is_key(part))]).strip(".")
    if first["type"] == "missing":
        return f"{key}: this key is missing"
    if first["type"] == "extra_forbidden":
        return f"{key}: no such key"
    # A value that may be of several types gives one problem a type: name them all.
    same_key = [p for p in problems if p["loc"][: _depth(first["loc"])] == first["loc"][: _depth(first["loc"])]]
    expectations = " or ".join(dict.fromkeys(_expectation(problem["msg"]) for problem in same_key))
    return f"{key}: got {first['input']!r}, expected {expectations}"


def _is_key(part: int | str) -> bool:
    """Whether a part of a pydantic location is a key or index of ours, not the name of a union's member."""
    return isinstance(part, int) or (part.isidentifier() and part not in {"int", "float", "str", "list", "bool"})


def _depth(location: tuple[int | str, ...]) -> int:
    return next((i for i, part in enumerate(location) if not _is_key(part)), len(location))


def _expectation(message: str) -> str:
    for prefix, plain in (
        ("Input should be ", ""),
        ("Value error, ", ""),
        ("String should have ", "text with "),
        ("List should have ", "a list with "),
    ):
        if message.startswith(prefix):
            return (plain + message.removeprefix(prefix)).split(" after validation")[0]
    return message
