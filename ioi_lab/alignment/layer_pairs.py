"""The pairs of layers that get maps: all, or one layer of the target per layer of the source, by a declared rule.

`depth` takes the layer of the target at the same relative depth. `best` takes the layer of the target to which a ridge
map has the highest R² in cross-validation over the folds of the texts that maps are fitted to; held-out texts take no
part in it. The maps back are between the same pairs.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ioi_lab.alignment.config import LayerRule
from ioi_lab.alignment.cross_validation import cross_validated_r2
from ioi_lab.alignment.maps import Spectrum
from ioi_lab.alignment.moments import joined
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import CorpusMoments

PairOfIndices = tuple[int, int]
"""The places of a layer among the mapped layers of the source, and among those of the target."""

RULES: Final = {
    "all": "every pair of layers",
    "depth": "for each layer of the source, the layer of the target at the nearest relative depth",
    "best": (
        "for each layer of the source, the layer of the target with the highest R² of a ridge map in cross-validation "
        "over the texts that maps are fitted to"
    ),
}
"""The rules, as the report states them."""


def chosen_pairs(rule: LayerRule, moments: CorpusMoments, pairing: Pairing) -> list[PairOfIndices]:
    """Return the pairs of layers that a rule chooses, in the order of the source's layers."""
    source, target = pairing.layers
    if rule == "all":
        return [(i, j) for i in range(len(source)) for j in range(len(target))]
    if rule == "depth":
        own, other = (
            _depths(layers, model.shape.n_layers) for layers, model in zip(pairing.layers, pairing.models, strict=True)
        )
        return [(i, int(np.abs(np.array(other) - depth).argmin())) for i, depth in enumerate(own)]
    return [(i, _best(i, moments, len(target))) for i in range(len(source))]


def _depths(layers: list[int], n_layers: int) -> list[float]:
    return [(layer + 1) / n_layers for layer in layers]


def _best(i: int, moments: CorpusMoments, n_target_layers: int) -> int:
    """Return the target's layer, by index, to which the best ridge map goes from the source's layer of this index."""
    spectra: list[Spectrum] = []
    scores = []
    for j in range(n_target_layers):
        folds = [fold.pair(i, j) for fold in moments.folds]
        whole = joined(folds)
        rests = [whole.without(fold) for fold in folds]
        spectra = spectra or [Spectrum.of(rest) for rest in rests]
        scores.append(cross_validated_r2(list(zip(rests, folds, spectra, strict=True))))
    return max(range(n_target_layers), key=scores.__getitem__)
