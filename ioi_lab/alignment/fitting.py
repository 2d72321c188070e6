"""Maps of all pairs of layers, fitted to the moments of a corpus, and their errors on held-out texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers
from ioi_lab.alignment.cross_validation import cross_validated_penalty
from ioi_lab.alignment.layer_pairs import PairOfIndices
from ioi_lab.alignment.maps import (
    MAP_METHODS,
    AffineMap,
    Anchors,
    FitSettings,
    Spectrum,
    mean_shift,
)
from ioi_lab.alignment.moments import PairMoments, joined
from ioi_lab.alignment.nonlinear import ActivationMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.positions import Chunk
from ioi_lab.alignment.reading import CorpusMoments
from ioi_lab.alignment.training import LossCurve
from ioi_lab.stats.metrics import Array
from ioi_lab.terminal import progress_bar

MAX_GROUPS: Final = 500
"""Held-out texts are resampled in at most this many groups, so that memory does not grow with the corpus."""


@dataclass(frozen=True)
class Fit:
    """The fitted map of a pair of layers, and its controls."""

    map: ActivationMap
    penalty: float | None
    """The ridge penalty in mean variances of x; None if the method is not penalized."""

    shuffled: AffineMap
    """The map that the same method fits to positions of one model paired with positions of other texts."""

    mean_shift: AffineMap
    mean: Float[Tensor, "d_y"]
    """The mean of y over the positions that the map is fitted to."""

    cka: float
    curve: LossCurve | None = None
    """How the training of the map went; None for a closed form."""


@dataclass(frozen=True)
class Errors:
    """Squared errors of one map on held-out texts, by group of texts, and `cosine` summed over `count` positions.

    `mean` is the error of the fitted mean, `total` that of the held-out mean, as R² requires. The cosine is that
    between the image of x and y, each less the fitted mean.
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
        """Return errors over no positions."""
        return cls(*(np.zeros(groups) for _ in fields(cls)))

    def r2(self, name: str = "map") -> float:
        """Return the share of the held-out variance that the map, or one of its controls, explains."""
        return 1 - float(getattr(self, name).sum() / self.total.sum())


def fit_all(
    moments: CorpusMoments,
    pairing: Pairing,
    config: AlignmentConfig,
    pairs: Sequence[PairOfIndices],
    *,
    backward: bool,
) -> dict[PairOfLayers, Fit]:
    """Return the maps of some pairs of layers from the source to the target, or, if `backward`, the other way round."""
    fits = {}
    spectra: dict[int, list[Spectrum]] = defaultdict(list)
    in_order = sorted(pairs, key=lambda pair: pair[::-1]) if backward else pairs
    with progress_bar(len(pairs), "fitting", unit="map") as bar:
        for i, j in in_order:
            folds = [fold.pair(i, j, backward=backward) for fold in moments.folds]
            shuffled = moments.shuffled.pair(i, j, backward=backward)
            anchors = moments.sample.pair(i, j, backward=backward)
            pair = (pairing.layers[0][i], pairing.layers[1][j])
            of_layer = spectra[j if backward else i]
            fits[pair[::-1] if backward else pair] = fit_pair(folds, shuffled, config, of_layer, anchors)
            bar.update()
    return fits


def fit_pair(
    folds: list[PairMoments],
    shuffled: PairMoments,
    config: AlignmentConfig,
    spectra: list[Spectrum] | None = None,
    anchors: Anchors | None = None,
) -> Fit:
    """Return the map of one pair of layers.

    Args:
        folds: The moments of each fold.
        shuffled: The moments of positions paired with positions of other texts.
        config: The method and its settings.
        spectra: An empty list, which is filled, to be given again for other pairs from the same layer.
        anchors: The activations of both models at one position of each of some texts.

    """
    spectra = [] if spectra is None else spectra
    method = MAP_METHODS[config.method]
    whole = joined(folds)
    anchors = None if anchors is None else (anchors[0][: config.anchors], anchors[1][: config.anchors])
    settings, penalty = FitSettings(rank=config.rank, options=config.options, anchors=anchors), None
    if method.is_penalized:
        rests = [whole.without(fold) for fold in folds]
        if not spectra:
            spectra += [Spectrum.of(part) for part in (*rests, whole)]
        penalty = cross_validated_penalty(list(zip(rests, folds, spectra[:-1], strict=True)))
        settings = replace(settings, penalty=penalty, spectrum=spectra[-1])
    return Fit(
        map=method.fit(whole, settings),
        penalty=penalty,
        shuffled=method.fit(shuffled, settings.shuffled()),  # the spectrum holds for it too: its x are the same
        mean_shift=mean_shift(whole, settings),
        mean=whole.mean_y,
        cka=whole.cka,
    )


@torch.no_grad()
def try_maps(
    chunks: Iterable[Chunk],
    moments: CorpusMoments,
    pairing: Pairing,
    forward: Mapping[PairOfLayers, Fit],
    backward: Mapping[PairOfLayers, Fit],
) -> tuple[dict[PairOfLayers, Errors], dict[PairOfLayers, Errors]]:
    """Return the errors of all maps, in both directions, on the held-out texts of the chunks."""
    groups = min(moments.held_out_texts, MAX_GROUPS)
    errors = tuple({pair: Errors.zeros(groups) for pair in fits} for fits in (forward, backward))
    means = [total / moments.n_held_out for total in moments.held_out]
    for chunk, group in _grouped(chunks, groups):
        activations = pairing.activations(chunk)
        for pair in forward:
            i, j = (layers.index(layer) for layers, layer in zip(pairing.layers, pair, strict=True))
            x, y = activations[0][:, i], activations[1][:, j]
            _add_errors(errors[0][pair], forward[pair], x, y, means[1][j], group)
            _add_errors(errors[1][pair[::-1]], backward[pair[::-1]], y, x, means[0][i], group)
    return errors[0], errors[1]


def _grouped(chunks: Iterable[Chunk], groups: int) -> Iterator[tuple[Chunk, Int[Tensor, "position"]]]:
    """Yield the held-out pieces of each chunk, and the group of each of their positions: one text per group in turn."""
    n_texts = 0
    for chunk in (chunk.held_out for chunk in chunks):
        if chunk.pieces:
            texts, order = torch.unique_consecutive(chunk.texts, return_inverse=True)
            yield chunk, (n_texts + order) % groups
            n_texts += len(texts)


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
