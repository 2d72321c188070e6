"""Attention heads by name, as in configs: `9.9` is head 9 of layer 9; and the heads that a patching run has found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BeforeValidator

from ioi_lab.errors import LabError
from ioi_lab.models.shape import Component, ModelShape

_NAME: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)")


def _name(value: object) -> object:
    if not isinstance(value, str | float) or not _NAME.fullmatch(str(value)):
        raise ValueError("the name of a head, such as '9.9'")
    return value


HeadName = Annotated[str | float, BeforeValidator(_name)]
"""`"9.9"`, or the number that YAML makes of it."""


def head_name(head: tuple[int, int]) -> str:
    """The name of a layer's head."""
    return f"{head[0]}.{head[1]}"


def head_of(name: str | float, shape: ModelShape, component: Component, key: str) -> tuple[int, int]:
    """Layer and head of a name; a `LabError` that names `key` if there is no such head, or if it may be two.

    YAML reads 9.10 as the number 9.1, so where both heads exist, a number is refused.
    """
    layer, head = (int(part) for part in str(name).split("."))
    if isinstance(name, float) and head > 0 and head * 10 < shape.heads(component):
        raise LabError(f"{key}: got {name}, which may be head {head} or {head * 10}; quote it: '{layer}.{head}'")
    last_layer, last_head = shape.n_layers - 1, shape.heads(component) - 1
    if layer > last_layer or head > last_head:
        noun = shape.head_noun(component)
        raise LabError(f"{key}: got {name}, expected a {noun} from 0.0 to {last_layer}.{last_head} ({shape.name})")
    return layer, head


def heads_of(names: Sequence[str | float], shape: ModelShape, component: Component, key: str) -> list[tuple[int, int]]:
    """Layer and head of each name, each once."""
    return list(dict.fromkeys(head_of(name, shape, component, key) for name in names))
