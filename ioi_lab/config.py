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

CONFIG_FOLDER: Final = Path(__file__).resolve().parent.parent / "conf"
"""The folder of Hydra's config groups."""

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

    def __hash__(self) -> int:
        return hash(repr(self))  # fields that are lists cannot be hashed

    @classmethod
    def from_config(cls, values: Mapping[str, Any], group: str) -> Self:
        """Check the `values` of the config group `group`.

        Raises a `LabError` that names the full key, the value and the choices.
        """
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
    arguments = dict(values)
    target = arguments.pop("_target_", None)
    cls, reason = _class_called(target, f"{group}._target_")
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise LabError(
            f"{group}._target_: got {target!r}, expected the full name of a class that inherits {base.__name__}{reason}"
        )
    return cls.from_config(arguments, group)


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


def _class_called(target: object, key: str) -> tuple[object, str]:
    """Return the object of this full name, or None and the reason in brackets."""
    module, _, name = _check_target(target, key).rpartition(".")
    try:
        return getattr(import_trusted(module), name, None), ""
    except (ImportError, SyntaxError) as error:
        return None, f" (cannot import {module!r}: {folded(error)})"


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
