"""Vectors made again from bootstrap samples of the training prompts, which show how certain a vector is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.transfer.vectors import with_norm_of

if TYPE_CHECKING:
    from ioi_lab.alignment.config import PairOfLayers
    from ioi_lab.steering.methods import Vector
    from ioi_lab.transfer.vectors import NativeVectors, Route

N_REFITS: Final = 50
"""The number of refits: their standard deviation is off by about a tenth."""


@dataclass(frozen=True)
class Refits:
    """The vectors of a pair of layers, refit by refit; those of one refit are made from the same prompts."""

    native: list[Vector]
    carried: list[Vector]
    at_native_norm: list[Vector]
    """The carried vectors with the norms of the native ones."""

    @classmethod
    def of(cls, target: NativeVectors, route: Route, pair: PairOfLayers, seed: int) -> Refits:
        """Make the vectors of source and target again; the route, with its maps, stays as it is."""
        source = route.source
        n_prompts = len(source.sides[pair[0]][0])
        samples = np.random.default_rng([seed, *pair]).integers(n_prompts, size=(N_REFITS, n_prompts))
        native = [target.refit(pair[1], sample) for sample in samples]
        carried = [route.image(source.refit(pair[0], sample), pair) for sample in samples]
        at_native_norm = [with_norm_of(one, other) for one, other in zip(carried, native, strict=True)]
        return cls(native, carried, at_native_norm)
