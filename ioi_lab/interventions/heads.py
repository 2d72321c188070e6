"""Attention heads by name, as in configs: `9.9` is head 9 of layer 9; and the heads that a patching run has found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import BeforeValidator

from ioi_lab.edits import KEY_VALUE_COMPONENTS, Component, ModelShape
from ioi_lab.errors import LabError
from ioi_lab.runs import PastRun

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


@dataclass(frozen=True)
class RankedHeads:
    """The heads of a finished run, the one of largest effect first."""

    title: str
    effects: dict[tuple[int, int], float]
    """By layer and head, the change of recovery; of several positions, the largest."""

    @property
    def names(self) -> list[tuple[int, int]]:
        """Layer and head, strongest first."""
        return list(self.effects)

    @classmethod
    def of(cls, run: PastRun, key: str) -> Self:
        """The heads of a run of `patch` or the like; a `LabError` that names `key` if it measured no single heads."""
        table, config = run.table(key), run.intervention
        component = config.get("component")
        is_by_head = {"layer", "head", "recovery"} <= set(table.columns) and table["head"].notna().all()
        if not is_by_head or component in KEY_VALUE_COMPONENTS:
            raise LabError(
                f"{key}: the run in {str(run.folder)!r} ({config.get('name')} {component or ''}) has no effect a head; "
                "expected one of intervention=patch over heads, such as component=z"
            )
        noising = config.get("direction") == "noise" or config.get("run") == "clean"
        effects: dict[tuple[int, int], float] = {}
        for layer, head, recovery in zip(table["layer"], table["head"], table["recovery"], strict=True):
            effect, cell = recovery - (1.0 if noising else 0.0), (int(layer), int(head))
            if abs(effect) >= abs(effects.get(cell, 0.0)):
                effects[cell] = float(effect)
        ranked = sorted(effects.items(), key=lambda item: -abs(item[1]))
        return cls(f"{config.get('name')} {component}", dict(ranked))
