"""Names of attention heads in configs: `9.9` is head 9 of layer 9, and `9.9@END` is that head at one position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BeforeValidator

from ioi_lab.errors import LabError
from ioi_lab.models.shape import Component, ModelShape

_NAME: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)")
_PLACED_NAME: Final = re.compile(rf"{_NAME.pattern}(@\S+)?")


def _check_name(value: object) -> object:
    if not isinstance(value, str | float) or not _NAME.fullmatch(str(value)):
        raise ValueError("the name of a head, such as '9.9'")
    return value


HeadName = Annotated[str | float, BeforeValidator(_check_name)]
"""The name of a head: `"9.9"`, or the number that YAML reads it as."""


def _check_placed_name(value: object) -> object:
    if not isinstance(value, str | float) or not _PLACED_NAME.fullmatch(str(value)):
        raise ValueError("the name of a head, such as '9.9', or of a head at a position, such as '9.9@END'")
    return value


PlacedHeadName = Annotated[str | float, BeforeValidator(_check_placed_name)]
"""A `HeadName`, which may end with a position: `"9.9@END"`."""


def head_name(head: tuple[int, int]) -> str:
    """Return the name of a head: `(9, 6)` is `9.6`."""
    return f"{head[0]}.{head[1]}"


def head_of(name: str | float, shape: ModelShape, component: Component, key: str) -> tuple[int, int]:
    """Return the layer and the head of a name.

    Raises a `LabError` that names `key` if the model does not have the head, and for a number that may stand for two
    heads: YAML reads both 9.1 and 9.10 as 9.1.
    """
    shape.check_component(component, key)
    layer, head = (int(part) for part in str(name).split("."))
    if isinstance(name, float) and head > 0 and head * 10 < shape.heads(component):
        raise LabError(f"{key}: got {name}, which may be head {head} or {head * 10}; quote it: '{layer}.{head}'")
    last_layer, last_head = shape.n_layers - 1, shape.heads(component) - 1
    if layer > last_layer or head > last_head:
        noun = shape.head_noun(component)
        raise LabError(f"{key}: got {name}, expected a {noun} from 0.0 to {last_layer}.{last_head} ({shape.name})")
    if (component, layer) in shape.missing:
        having = ", ".join(map(str, shape.layers(component)))
        raise LabError(f"{key}: got {name}, but of {shape.name} only these layers have {component}: {having}")
    return layer, head


def split_name(name: str | float) -> tuple[str | float, str | None]:
    """Return the name of a head and its position, `None` if the name has none."""
    if not isinstance(name, str) or "@" not in name:
        return name, None
    head, position = name.split("@", 1)
    return head, position


def heads_of(names: Sequence[str | float], shape: ModelShape, component: Component, key: str) -> list[tuple[int, int]]:
    """Return the layer and the head of each name, without duplicates; raises errors like `head_of`."""
    return list(dict.fromkeys(head_of(name, shape, component, key) for name in names))
