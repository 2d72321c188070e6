"""The timed grids, as edits of the engine and as hooks of a peer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from ioi_lab.engine.edits import Edit, EditSet, FromPass, Pass, Site
from ioi_lab.models.shape import ModelShape
from ioi_lab.tasks.prompts import Position

GRIDS = ("heads, all positions", "heads at END", "residual, layer × position", "steering heads at END")
STEERED_LAYERS, STEERED_HEADS, STEERING_EDITS = 12, 12, 1296


def plan(grid: str, shape: ModelShape, length: int) -> tuple[Pass, list[EditSet]]:
    """Return the pass that is edited, and the edits of a grid."""
    cells = list(product(range(shape.n_layers), range(shape.n_heads)))
    if grid == "heads, all positions":
        return "corrupted", [(Edit(Site("z", *cell), "replace", FromPass("clean")),) for cell in cells]
    if grid == "heads at END":
        return "corrupted", [(Edit(Site("z", *cell, "END"), "replace", FromPass("clean")),) for cell in cells]
    if grid == "residual, layer × position":
        places = product(range(shape.n_layers), range(length))
        return "corrupted", [
            (Edit(Site("resid_pre", layer, position=position), "replace", FromPass("clean")),)
            for layer, position in places
        ]
    return "clean", _steering(shape)


def _steering(shape: ModelShape) -> list[EditSet]:
    layers = torch.linspace(0, shape.n_layers - 1, STEERED_LAYERS).round().int().tolist()
    heads = range(min(STEERED_HEADS, shape.n_heads))
    scales = torch.linspace(-4, 4, STEERING_EDITS // (len(layers) * len(heads))).tolist()
    vector = torch.randn(shape.d_head, generator=torch.Generator().manual_seed(0))
    cells = product(layers, heads, scales)
    return [(Edit(Site("z", layer, head, "END"), "add", vector, scale),) for layer, head, scale in cells]


def hook(edit: Edit, clean_cache: dict[str, Any]) -> tuple[str, Callable[..., Any]]:
    """Return the edit as a TransformerLens user would write it: a hook for `run_with_hooks`."""
    site = edit.site
    named: dict[Position, slice | int] = {"all": slice(None), "END": -1}
    positions: Any = named.get(site.position, site.position)
    where = (slice(None), positions) if site.head is None else (slice(None), positions, site.head)

    def change(activation: torch.Tensor, hook: object) -> torch.Tensor:
        if edit.operation == "add":
            assert isinstance(edit.value, torch.Tensor)
            activation[where] = activation[where] + edit.scale * edit.value.to(activation)
        else:
            activation[where] = clean_cache[site.hook][where]
        return activation

    return site.hook, change
