"""Activations that steering vectors are made from, and the edits that add a direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import Edit, EditSet, Pass, Site
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.methods import Activations
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

SCALES: Final = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
"""The scales that `scale=all` stands for."""

MIN_CONTROLS: Final = 5
"""The least number of random directions that a band is drawn from."""


def add_direction(site: Site, directions: Float[Array, "prompt d"], scales: Sequence[float]) -> list[EditSet]:
    """Return one edit set per scale, which adds the scaled directions, one per prompt, at a site."""
    import torch

    value = torch.from_numpy(directions).float()
    return [(Edit(site, "add", value, scale),) for scale in scales]


def activations_at(engine: Engine, which: Pass, sites: Sequence[Site]) -> dict[Site, Activations]:
    """Return the activation `[prompt, d]` of each site in an unedited pass, at its position.

    A site at all positions is read at END.
    """
    shape, longest = engine.shape, engine.prompts.longest
    activations = {site: np.empty((len(engine.prompts), site.width(shape, longest))) for site in sites}
    for rows, streamed in engine.stream_recorded(which, list(sites)):
        for site in sites:
            places = [engine.prompts[row].index(read_position(site)) for row in rows]
            # NumPy, since PyTorch takes longer for a few places than for all the rest.
            activations[site][list(rows)] = streamed[site].cpu().numpy()[range(len(rows)), places]
    return activations


def read_position(site: Site) -> Position:
    """Return the position at which the vector of a site is read: its own, or END if it is added at all positions."""
    return "END" if site.position == "all" else site.position
