"""Attention patterns over all prompts: the attention from a query position to labelled keys, and to anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.models.shape import ModelShape
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

ELSEWHERE: Final = "elsewhere"
"""The name of the last key of `attention_to`: all positions together that are not among the keys."""


def attention_to(
    engine: Engine, which: Pass = "clean", query: Position = "END", keys: Sequence[Position] = ("IO", "S1", "S2")
) -> Float[Array, "layer head key prompt"]:
    """Return the attention weights from `query` to each of `keys` and, as the last key, to all other positions.

    They are NaN in layers without attention. Raises a `LabError` for a model without patterns.
    """
    shape, prompts = engine.shape, engine.prompts
    weights = np.full((shape.n_layers, shape.n_heads, len(keys) + 1, len(prompts)), np.nan)
    sites = _pattern_sites(shape)
    for rows, activations in engine.stream(which, sites):
        queries = [prompts[row].index(query) for row in rows]
        places = np.array([[prompts[row].index(key) for row in rows] for key in keys])
        within = np.arange(len(rows))
        for site in sites:
            patterns = activations[site].unflatten(-1, (shape.n_heads, -1))[list(within), queries]
            pattern = patterns.double().cpu().numpy()  # [row, head, key pos]
            to_keys = pattern[within, :, places]  # [key, row, head]
            for place in places:
                pattern[within, :, place] = 0
            weights[site.layer][:, :-1, rows] = to_keys.transpose(2, 0, 1)
            weights[site.layer][:, -1, rows] = pattern.sum(axis=-1).T
    return weights


def patterns_of(engine: Engine, which: Pass = "clean", prompt: int = 0) -> Float[Array, "layer head query_pos key_pos"]:
    """Return the patterns of all heads for one prompt, given by its index; zeros in layers without attention."""
    shape, sites = engine.shape, _pattern_sites(engine.shape)
    activations = engine.on(engine.prompts.only(prompt)).record(which, sites)
    length = len(engine.prompts[prompt])
    patterns = np.zeros((shape.n_layers, shape.n_heads, length, length))
    for site in sites:
        pattern = activations[site][0].unflatten(-1, (shape.n_heads, -1)).transpose(0, 1)
        patterns[site.layer] = pattern.double().cpu().numpy()
    return patterns


def _pattern_sites(shape: ModelShape) -> list[Site]:
    shape.check_component("pattern", "intervention")
    return [Site("pattern", layer) for layer in shape.layers("pattern")]
