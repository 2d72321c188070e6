"""Attention patterns over all prompts: how much a query position attends to labelled keys, and to anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


def attention_to(
    engine: Engine, run: Pass, query: Position, keys: Sequence[Position]
) -> Float[Array, "layer head key prompt"]:
    """The weight from `query` on each of `keys`, and as the last key on all other positions together."""
    shape, prompts = engine.shape, engine.prompts
    weights = np.zeros((shape.n_layers, shape.n_heads, len(keys) + 1, len(prompts)))
    sites = [Site("pattern", layer) for layer in range(shape.n_layers)]
    for rows, held in engine.stream(run, sites):
        queries = [prompts[row].positions(query).start for row in rows]
        places = np.array([[prompts[row].positions(key).start for row in rows] for key in keys])
        within = np.arange(len(rows))
        for layer, site in enumerate(sites):
            patterns = held[site].unflatten(-1, (shape.n_heads, -1))[list(within), queries]
            pattern = patterns.double().cpu().numpy()  # [row, head, key pos]
            to_keys = pattern[within, :, places]  # [key, row, head]
            for place in places:
                pattern[within, :, place] = 0
            weights[layer][:, :-1, rows] = to_keys.transpose(2, 0, 1)
            weights[layer][:, -1, rows] = pattern.sum(axis=-1).T
    return weights


def patterns_of(engine: Engine, run: Pass, prompt: int) -> Float[Array, "layer head query_pos key_pos"]:
    """All patterns of one prompt."""
    sites = [Site("pattern", layer) for layer in range(engine.shape.n_layers)]
    held = engine.on(engine.prompts.only(prompt)).record(run, sites)
    patterns = torch.stack([held[site][0].unflatten(-1, (engine.shape.n_heads, -1)) for site in sites])
    return patterns.transpose(1, 2).double().cpu().numpy()
