"""Registries of parts that users add: each part is registered where it is written, by a decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator

from ioi_lab.errors import LabError
from ioi_lab.plugins import import_trusted, why_untrusted

PartT = TypeVar("PartT")


class Registry(Generic[PartT]):
    """Named parts of one kind, such as vector methods.

    A part of your own goes into any Python file::

        @vector_method("median_difference")  # registers it in VECTOR_METHODS, with what it needs
        def median_difference(positive, negative): ...

    A config names it by its name once the file is imported, or as `my_file.median_difference`, which imports the file
    if `IOI_LAB_PLUGINS` names it (see `ioi_lab.plugins`).

    Args:
        kind: What a part is called in errors, such as `vector method`.

    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._parts: dict[str, PartT] = {}

    def register(self, name: str) -> Callable[[PartT], PartT]:
        """Return a decorator that registers a function or class under `name`."""

        def add(part: PartT) -> PartT:
            self._parts[name] = part
            return part

        return add

    @property
    def names(self) -> list[str]:
        """The names of all parts, in the order in which they were registered."""
        return list(self._parts)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def __getitem__(self, name: str) -> PartT:
        """Return the part called `name`; raises a `LabError` if there is none."""
        try:
            return self._parts[self.check(name).rpartition(".")[2]]
        except ValueError as error:
            raise LabError(f"{self._kind}: got {name!r}, expected {error}") from error

    def check(self, name: object) -> str:
        """Return `name`; raises a `ValueError` with the choices if there is no such part: for pydantic."""
        if not isinstance(name, str):
            raise ValueError(self._choices())
        module, _, short = name.rpartition(".")
        if module and short not in self._parts:
            if (reason := why_untrusted(name)) is not None:
                raise ValueError(f"{self._choices()}, or {reason}")
            try:
                import_trusted(module)
            except (ImportError, SyntaxError) as error:
                raise ValueError(f"{self._choices()} (cannot import {module!r}: {error})") from error
        if short not in self._parts:
            raise ValueError(self._choices())
        return name

    def _choices(self) -> str:
        quoted = [repr(name) for name in self._parts]
        return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def name_in(registry: Registry[Any]) -> Any:
    """Return the type of a config key that names a part of a registry."""
    return Annotated[str, BeforeValidator(registry.check)]
