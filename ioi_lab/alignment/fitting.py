"""Maps of all pairs of layers from the sums that reading a corpus has left, and their errors on held-out texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Final, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers
from ioi_lab.alignment.maps import AffineMap, Spectrum, cross_validated_penalty, lowrank, mean_shift, procrustes, ridge
from ioi_lab.alignment.moments import PairMoments
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.positions import Chunk
from ioi_lab.alignment.reading import Sums
from ioi_lab.stats.metrics import Array

MAX_GROUPS: Final = 500
"""Held-out texts are resampled in at most so many groups, so that memory does not grow with the corpus."""


@dataclass(frozen=True)
class Fit:
    """The fitted map of a pair of layers, and the controls beside it."""

    map: AffineMap
    penalty: float | None
    """Of ridge regression, in mean variances of x."""

    shuffled: AffineMap
    """Fitted the same way on positions of the one model beside those of other texts of the other."""

    mean_shift: AffineMap
    mean: Float[Tensor, "d_y"]
    """The mean of y over what was fitted on."""

    cka: float


@dataclass(frozen=True)
class Errors:
    """Of one map on held-out texts, by group of texts: squared errors, and `cosine` summed over `count` positions.

    `mean`: of the mean that was fitted; `total`: around the held-out mean, as R² asks. The cosine is that between what
    is mapped and what it should be, each less the mean that was fitted.
    """

    map: Float[Array, "group"]
    shuffled: Float[Array, "group"]
    mean_shift: Float[Array, "group"]
    mean: Float[Array, "group"]
    total: Float[Array, "group"]
    cosine: Float[Array, "group"]
    count: Float[Array, "group"]

    @classmethod
    def zeros(cls, groups: int) -> Self:
        """Before anything has been tried."""
        return cls(*(np.zeros(groups) for _ in fields(cls)))

    def r2(self, name: str = "map") -> float:
        """The share of the held-out variance that the map, or one of its controls, explains."""
        return 1 - float(getattr(self, name).sum() / self.total.sum())


def fit_all(sums: Sums, pairing: Pairing, config: AlignmentConfig, *, backward: bool) -> dict[PairOfLayers, Fit]:
    """The maps of all pairs of layers from the source model to the target, or `backward`."""
    layers = pairing.layers[::-1] if backward else pairing.layers
    fits = {}
    with tqdm(total=len(layers[0]) * len(layers[1]), desc="fitting", unit=" maps", disable=None, leave=False) as bar:
        for i, x_layer in enumerate(layers[0]):
            spectra: list[Spectrum] = []
            for j, y_layer in enumerate(layers[1]):
                at = (j, i) if backward else (i, j)
                folds = [fold.pair(*at, backward=backward) for fold in sums.folds]
                shuffled = sums.shuffled.pair(*at, backward=backward)
                fits[x_layer, y_layer] = fit_pair(folds, shuffled, config, spectra)
                bar.update()
    return fits


def fit_pair(
    folds: list[PairMoments], shuffled: PairMoments, config: AlignmentConfig, spectra: list[Spectrum] | None = None
) -> Fit:
    """The map of one pair of layers. `spectra`: filled at first, to be given again for others from the same layer."""
    spectra = [] if spectra is None else spectra
    whole = joined(folds)
    rests = [whole.without(fold) for fold in folds]
    penalty = None
    if config.method in ("ridge", "lowrank"):
        if not spectra:
            spectra += [Spectrum.of(part) for part in (*rests, whole)]
        penalty = cross_validated_penalty(list(zip(rests, folds, spectra[:-1], strict=True)))

    def fitted(moments: PairMoments, spectrum: Spectrum | None) -> AffineMap:
        if config.method == "ridge":
            return ridge(moments, penalty or 0.0, spectrum)
        if config.method == "lowrank":
            return lowrank(moments, config.rank, penalty or 0.0, spectrum)
        return {"procrustes": procrustes, "mean_shift": mean_shift}[config.method](moments)

    return Fit(
        map=fitted(whole, spectra[-1] if spectra else None),
        penalty=penalty,
        shuffled=fitted(shuffled, spectra[-1] if spectra else None),  # whose x are the same
        mean_shift=mean_shift(whole),
        mean=whole.mean_y,
        cka=whole.cka,
    )


def joined(parts: list[PairMoments]) -> PairMoments:
    """Of the positions of all parts."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.with_(part)
    return whole


@torch.no_grad()
def try_maps(
    chunks: Iterable[Chunk],
    sums: Sums,
    pairing: Pairing,
    forward: Mapping[PairOfLayers, Fit],
    backward: Mapping[PairOfLayers, Fit],
) -> tuple[dict[PairOfLayers, Errors], dict[PairOfLayers, Errors]]:
    """The errors of all maps, in both directions, on the held-out texts of the chunks."""
    groups = min(sums.held_out_texts, MAX_GROUPS)
    errors = tuple({pair: Errors.zeros(groups) for pair in fits} for fits in (forward, backward))
    means = [total / sums.n_held_out for total in sums.held_out]
    for chunk, group in _grouped(chunks, groups):
        held = pairing.activations(chunk)
        for i, j in product(range(len(pairing.layers[0])), range(len(pairing.layers[1]))):
            own = pairing.layers[0][i], pairing.layers[1][j]
            x, y = held[0][:, i], held[1][:, j]
            _add_errors(errors[0][own], forward[own], x, y, means[1][j], group)
            _add_errors(errors[1][own[::-1]], backward[own[::-1]], y, x, means[0][i], group)
    return errors[0], errors[1]


def _grouped(chunks: Iterable[Chunk], groups: int) -> Iterator[tuple[Chunk, Int[Tensor, "position"]]]:
    """The held-out pieces of each chunk, and the group of each of their positions: text by text in turn."""
    seen = 0
    for chunk in (chunk.held_out for chunk in chunks):
        if chunk.pieces:
            texts, order = torch.unique_consecutive(chunk.texts, return_inverse=True)
            yield chunk, (seen + order) % groups
            seen += len(texts)


def _add_errors(
    errors: Errors,
    fit: Fit,
    x: Float[Tensor, "position d_x"],
    y: Float[Tensor, "position d_y"],
    held_out_mean: Float[Tensor, "d_y"],
    group: Int[Tensor, "position"],
) -> None:
    mapped = fit.map(x)
    by_position = {
        "map": (y - mapped).square().sum(dim=1),
        "shuffled": (y - fit.shuffled(x)).square().sum(dim=1),
        "mean_shift": (y - fit.mean_shift(x)).square().sum(dim=1),
        "mean": (y - fit.mean).square().sum(dim=1),
        "total": (y - held_out_mean).square().sum(dim=1),
        "cosine": torch.cosine_similarity(mapped - fit.mean, y - fit.mean, dim=1),
        "count": torch.ones(len(x)),
    }
    for name, values in by_position.items():
        np.add.at(getattr(errors, name), group.numpy(), values.cpu().numpy())
