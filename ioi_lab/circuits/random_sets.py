"""Random sets of as many heads as a chosen one has: the control of what is claimed of the chosen one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from ioi_lab.models.selectors import PlacedCell

_TRIES_PER_SET: Final = 20
"""How often a set is drawn for each that is asked for: small models have few different ones."""


def random_sets(
    chosen: Sequence[PlacedCell], heads: Sequence[tuple[int, int]], count: int, seed: int
) -> list[list[PlacedCell]]:
    """Return up to `count` different random sets, with as many heads at each position as `chosen` has there.

    Args:
        chosen: Layers, heads and positions; no set that is returned is the same.
        heads: The layers and heads that are drawn from.
        count: The number of sets. A small model may have fewer.
        seed: Draws them.

    """
    rng = np.random.default_rng(seed)
    sizes, drawn = Counter(position for *_, position in chosen), dict[tuple[PlacedCell, ...], None]()
    for _ in range(_TRIES_PER_SET * count):
        if len(drawn) == count:
            break
        picked: list[PlacedCell] = [
            (*heads[pick], position)
            for position, size in sizes.items()
            for pick in rng.choice(len(heads), size, replace=False)
        ]
        if set(picked) != set(chosen):
            drawn[tuple(sorted(picked, key=lambda cell: (*cell[:2], str(cell[2]))))] = None
    return [list(each) for each in drawn]
