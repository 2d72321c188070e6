"""Attention patterns over all prompts: the attention from a query position to labelled keys, and to anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

ELSEWHERE: Final = "elsewhere"
"""The name of the last key of `attention_to`: all positions together that are not among the keys."""


def attention_to(
    engine: Engine, which: Pass, query: Position, keys: Sequence[Position]
) -> Float[Array, "layer head key prompt"]:
    """Return the attention weights from `query` to each of `keys` and, as the last key, to all other positions."""
    shape, prompts = engine.shape, engine.prompts
    weights = np.zeros((shape.n_layers, shape.n_heads, len(keys) + 1, len(prompts)))
    sites = [Site("pattern", layer) for layer in range(shape.n_layers)]
    for rows, activations in engine.stream(which, sites):
        queries = [prompts[row].index(query) for row in rows]
        places = np.array([[prompts[row].index(key) for row in rows] for key in keys])
        within = np.arange(len(rows))
        for layer, site in enumerate(sites):
            patterns = activations[site].unflatten(-1, (shape.n_heads, -1))[list(within), queries]
            pattern = patterns.double().cpu().numpy()  # [row, head, key pos]
            to_keys = pattern[within, :, places]  # [key, row, head]
            for place in places:
                pattern[within, :, place] = 0
            weights[layer][:, :-1, rows] = to_keys.transpose(2, 0, 1)
            weights[layer][:, -1, rows] = pattern.sum(axis=-1).T
    return weights


def patterns_of(engine: Engine, which: Pass, prompt: int) -> Float[Array, "layer head query_pos key_pos"]:
    """Return the patterns of all heads for one prompt, given by its index."""
    shape, sites = engine.shape, [Site("pattern", layer) for layer in range(engine.shape.n_layers)]
    activations = engine.on(engine.prompts.only(prompt)).record(which, sites)
    patterns = [activations[site][0].unflatten(-1, (shape.n_heads, -1)).transpose(0, 1) for site in sites]
    return np.stack([pattern.double().cpu().numpy() for pattern in patterns])
