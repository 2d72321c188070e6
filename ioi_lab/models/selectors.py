"""The selectors of configs: layers, heads and positions by value, list or `all`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from ioi_lab.errors import LabError
from ioi_lab.models.heads import HeadName, PlacedHeadName, head_name, head_of, heads_of, split_name
from ioi_lab.models.shape import HEAD_COMPONENTS, Component, ModelShape
from ioi_lab.tasks.positions import all_but
from ioi_lab.tasks.prompts import Position, PromptPairs

Index = Annotated[int, Field(ge=0)]
IndexSelector = Literal["all"] | Index | Annotated[list[Index], Field(min_length=1)]
HeadSelector = IndexSelector | HeadName | Annotated[list[HeadName], Field(min_length=1)]
PlacedHeadSelector = IndexSelector | PlacedHeadName | Annotated[list[PlacedHeadName], Field(min_length=1)]
PositionSelector = Position | Annotated[list[Position], Field(min_length=1)]

Cell = tuple[int, int | None]
"""A layer and a head; the head is None for components without heads."""


def cell_name(layer: int, head: int | None) -> str:
    """Return the name of a cell: `9.9`, or `layer 9` for a component without heads."""
    return f"layer {layer}" if head is None else head_name((layer, head))


def check_selectors(component: Component, layer: Any, head: Any) -> None:
    """Raise a `LabError` for heads of a component without heads, and for layers if `head` names heads with theirs."""
    if head != "all" and component not in HEAD_COMPONENTS:
        raise LabError(f"intervention.head: got {head}, but {component} has no heads; expected 'all'")
    if head_names_in(head) and layer != "all":
        raise LabError(f"intervention.layer: got {layer}, but head names its layers already; expected 'all'")


def check_with_circuit(circuit: str | None, layer: Any, head: Any) -> None:
    """Raise a `LabError` if layers or heads are named in addition to a circuit that has some."""
    if circuit is not None and (layer != "all" or head != "all"):
        name, value = ("layer", layer) if layer != "all" else ("head", head)
        raise LabError(f"intervention.{name}: got {value}, but the circuit has its heads already; expected 'all'")


def cells_of(component: Component, layer: Any, head: Any, shape: ModelShape) -> list[Cell]:
    """Return the layers and heads that the selectors stand for; `all` layers are those that have the component.

    Raises a `LabError` for a layer or head that the model does not have.
    """
    shape.check_component(component, "intervention.component")
    if names := head_names_in(head):
        return list(heads_of(names, shape, component, "intervention.head"))
    layers = shape.layers(component) if layer == "all" else indices_of(layer, shape.n_layers)
    for index in layers:
        shape.check_layer(index, "intervention.layer", component)
    heads: list[int | None] = [None]
    if component in HEAD_COMPONENTS:
        chosen = indices_of(head, shape.heads(component))
        for index in chosen:
            shape.check_head(component, index, "intervention.head")
        heads = list(chosen)
    return list(product(layers, heads))


PlacedCell = tuple[int, int, Position]
"""A layer, a head and a position."""

Place = tuple[int, int | None, Position]
"""The same, or a layer and a position of a component without heads."""

_INDEX: Final = re.compile(r"-?[0-9]+")


def placed_name(layer: int, head: int | None, position: Position) -> str:
    """Return the name of a cell with its position, if that is not the whole prompt: `9.9@END`."""
    return cell_name(layer, head) + ("" if position == "all" else f"@{position}")


def are_placed(selector: Any) -> bool:
    """Return whether a selector names a head at a position."""
    return any(split_name(name)[1] is not None for name in head_names_in(selector))


def placed_cells_of(selector: Any, component: Component, shape: ModelShape, prompts: PromptPairs) -> list[PlacedCell]:
    """Return the heads of a selector at their positions, `all` for those without one.

    Raises a `LabError` for a head that the model does not have, and for a position that a prompt does not have.
    """
    key, cells = "intervention.head", []
    for name in head_names_in(selector):
        head, label = split_name(name)
        position: Position = "all" if label is None else int(label) if _INDEX.fullmatch(label) else label
        prompts.check_position(position, f"{key}={name}")
        cells.append((*head_of(head, shape, component, key), position))
    return list(dict.fromkeys(cells))


def all_but_placed(cells: Sequence[Place], component: Component, shape: ModelShape) -> list[PlacedCell]:
    """Return all heads of a component at all positions, except those of `cells` at theirs.

    Raises a `LabError` for a position that is a token index, as an exception has to be a label.
    """
    kept: dict[Cell, list[Position]] = {}
    for layer, head, position in cells:
        kept.setdefault((layer, head), []).append(position)
    others: list[PlacedCell] = []
    for cell in product(shape.layers(component), range(shape.heads(component))):
        positions = kept.get(cell, [])
        if isinstance(index := next((each for each in positions if isinstance(each, int)), None), int):
            raise LabError(
                f"intervention.head: got {head_name(cell)}@{index}, but sets=except takes labels, such as END, and no "
                "token indices"
            )
        if "all" not in positions:
            others.append((*cell, all_but([str(each) for each in positions]) if positions else "all"))
    return others


def head_names_in(selector: Any) -> list[str | float]:
    """Return the names of heads in a selector; none if it has indices or `all`."""
    chosen = selector if isinstance(selector, list) else [selector]
    return [name for name in chosen if isinstance(name, str | float) and name != "all"]


def indices_of(selector: Any, size: int) -> list[int]:
    """Return the indices below `size` that a selector stands for, each once."""
    if selector == "all":
        return list(range(size))
    return list(dict.fromkeys([selector] if isinstance(selector, int) else selector))


def positions_of(selector: PositionSelector, prompts: PromptPairs) -> list[Position]:
    """Return the positions that a selector stands for; raises a `LabError` for one that a prompt does not have."""
    if selector == "each":
        return prompts.each_position()
    chosen = selector if isinstance(selector, list) else [selector]
    if "each" in chosen:
        raise LabError(f"intervention.position: got {chosen}, but 'each' stands for every position, alone")
    for position in chosen:
        prompts.check_position(position, "intervention.position", words=("all", "each"))
    return list(dict.fromkeys(chosen))


MIXED: Final = "mixed"
"""The position of a set of sites at different positions."""


def label_at(label: str, position: Position, positions: list[Position], prompts: PromptPairs) -> str:
    """Return a label with its position, `9.9 @ S2`, if the `positions` of all labels differ."""
    return label if len(set(positions)) == 1 else f"{label} @ {prompts.position_name(position)}"


def shared_position(positions: list[Position], prompts: PromptPairs) -> str:
    """Return ` at S2` if all of some positions are one that is not the whole prompt, else nothing: for titles."""
    distinct = set(positions)
    if len(distinct) > 1 or distinct <= {"all", MIXED}:
        return ""
    return f" at {prompts.position_name(distinct.pop())}"
