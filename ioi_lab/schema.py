"""Typed configs: every Hydra config group is checked against a pydantic model before torch is imported."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ioi_lab.errors import LabError

ConfigT = TypeVar("ConfigT", bound="LabConfig")


class LabConfig(BaseModel):
    """Base of all configs: unknown keys and silent type conversions are refused, instances never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(repr(self))  # fields that are lists have none of their own

    @classmethod
    def from_config(cls, values: Mapping[str, Any], group: str) -> Self:
        """Check `values` of the config group `group`; the error names the full key, what it got and the choices."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise LabError(_one_line(error, group)) from error

    def check(self) -> None:
        """Raise a `LabError` for what the schema cannot say but needs no model to tell, such as a missing file."""


def instantiate(values: Mapping[str, Any], group: str, base: type[ConfigT]) -> ConfigT:
    """The checked config of the class that `_target_` names, which must inherit `base`."""
    arguments = dict(values)
    target = arguments.pop("_target_", None)
    try:
        cls = pkgutil.resolve_name(str(target))
    except (ImportError, AttributeError, ValueError):
        cls = None
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise LabError(
            f"{group}._target_: got {target!r}, expected the full name of a class that inherits {base.__name__}"
        )
    return cls.from_config(arguments, group)


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
