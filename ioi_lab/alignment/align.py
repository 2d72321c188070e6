"""Alignments of two models: maps of pairs of layers in both directions, fitted, trained and tried on held-out texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from ioi_lab.alignment.agreement import Agreement, agreements, replaced_share
from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers
from ioi_lab.alignment.fitting import Errors, Fit, fit_all, try_maps
from ioi_lab.alignment.layer_pairs import chosen_pairs
from ioi_lab.alignment.maps import MAP_METHODS, AffineMap
from ioi_lab.alignment.moments import Moments
from ioi_lab.alignment.nonlinear import ActivationMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.alignment.row_sample import RowSample
from ioi_lab.alignment.text_activations import read_pieces
from ioi_lab.alignment.trained_maps import train_all
from ioi_lab.alignment.training_checkpoint import TrainingCheckpoint
from ioi_lab.engine.memory import bound_in_bytes, in_gb
from ioi_lab.errors import LabError

Fits = dict[PairOfLayers, Fit]

_FURTHER_MOMENTS: Final = 2
"""Moments in addition to one per fold: those of the shuffled pairs, and those of the chunk that is being added."""


@dataclass(frozen=True)
class Alignment:
    """Fitted maps from the source to the target (`forward`) and back, and their errors on held-out texts."""

    forward: dict[PairOfLayers, Fit]
    backward: dict[PairOfLayers, Fit]
    forward_errors: dict[PairOfLayers, Errors]
    backward_errors: dict[PairOfLayers, Errors]
    n_positions: int
    """The number of positions that the maps were fitted to."""

    n_texts: int
    """The number of texts that these positions are from."""

    n_held_out: int
    """The number of positions that the maps were tried on."""

    n_held_out_texts: int
    """The number of texts that the held-out positions are from."""

    sample: RowSample
    """One position of each of some texts that the maps were fitted to."""

    @property
    def n_parameters(self) -> int:
        """The number of parameters of the largest map."""
        return max(fit.map.size for fits in (self.forward, self.backward) for fit in fits.values())

    @property
    def positions_per_dimension(self) -> float:
        """The number of positions per parameter of one output of the largest map."""
        maps = [fit.map for fits in (self.forward, self.backward) for fit in fits.values()]
        return self.n_positions / max(each.size / each.d_out for each in maps)


def align(reader: Reader, pairing: Pairing, config: AlignmentConfig) -> Alignment:
    """Read the corpus, fit the maps and try them on the held-out texts.

    Raises a `LabError` if the moments take more memory than the pairing may use, if a training diverges, and like
    `Reader.read`.
    """
    _check_memory(pairing, config)
    moments = reader.read()
    pairs = chosen_pairs(config.layers, moments, pairing)
    fits = tuple(fit_all(moments, pairing, config, pairs, backward=back) for back in (False, True))
    forward, backward = _trained(fits, reader, pairing, config) if MAP_METHODS[config.method].training else fits
    errors = try_maps(reader.chunks("trying"), moments, pairing, forward, backward)
    return Alignment(
        forward=forward,
        backward=backward,
        forward_errors=errors[0],
        backward_errors=errors[1],
        n_positions=moments.n_fitted,
        n_texts=moments.texts_read - moments.held_out_texts,
        n_held_out=moments.n_held_out,
        n_held_out_texts=moments.held_out_texts,
        sample=moments.sample,
    )


def _trained(fits: tuple[Fits, ...], reader: Reader, pairing: Pairing, config: AlignmentConfig) -> tuple[Fits, Fits]:
    """Return the fits of both directions with trained maps."""
    pieces = read_pieces(reader, pairing, config.train_texts, "alignment.train_texts", held_out=False)
    checkpoint = TrainingCheckpoint.of(
        pairing.models[0].origin, reader.identity | config.model_dump(), *reader.training_files
    )
    forward, backward = (
        train_all(of_direction, pieces, pairing, config, checkpoint, reader.seed, backward=back)
        for of_direction, back in zip(fits, (False, True), strict=True)
    )
    return forward, backward


@dataclass(frozen=True)
class Stitching:
    """How the models behave with mapped activations in the place of their own, on held-out texts."""

    forward: Mapping[PairOfLayers, Agreement]
    backward: Mapping[PairOfLayers, Agreement]
    shares: tuple[float, float]
    """The share of the positions, BOS included, that are replaced: of the target (forward) and of the source."""

    n_texts: int


def stitch(reader: Reader, pairing: Pairing, alignment: Alignment, config: AlignmentConfig) -> Stitching | None:
    """Run both models with mapped activations on `alignment.stitched_texts` held-out texts; None for 0 of them."""
    if config.stitched_texts == 0:
        return None
    pieces = read_pieces(reader, pairing, config.stitched_texts, "alignment.stitched_texts", held_out=True)
    both = []
    for fits, back in ((alignment.forward, False), (alignment.backward, True)):
        maps = {pair: fit.map for pair, fit in fits.items()}
        means = {pair[1]: fit.mean for pair, fit in fits.items()}
        both.append(agreements(pieces, pairing, maps, means, backward=back))
    shares = replaced_share(pieces, 1), replaced_share(pieces, 0)
    return Stitching(both[0], both[1], shares, len({each.piece.text for each in pieces}))


def _check_memory(pairing: Pairing, config: AlignmentConfig) -> None:
    memory = bound_in_bytes(pairing.memory_gb, pairing.models[0].device)
    needed = (config.folds + _FURTHER_MOMENTS) * Moments.bytes(*pairing.sizes) + RowSample.bytes(*pairing.sizes)
    if needed > memory:
        n_pairs = len(pairing.layers[0]) * len(pairing.layers[1])
        raise LabError(
            f"engine.memory_gb: the sums of {n_pairs} pairs of layers in {config.folds} folds take {in_gb(needed)} "
            f"GB, more than {in_gb(memory)} GB; choose fewer alignment.source_layers, .target_layers or .folds, or "
            "raise the bound"
        )


def distance_from_identity(fitted: AffineMap) -> float:
    """Return ‖matrix − I‖ / ‖I‖ (Frobenius), which is near 0 for maps from a model to itself."""
    identity = torch.eye(*fitted.matrix.shape).to(fitted.matrix)
    return float((fitted.matrix - identity).norm() / identity.norm())


def largest_distance_from_identity(maps: Mapping[PairOfLayers, ActivationMap]) -> float | None:
    """Return the largest distance from the identity of the affine maps between equal layers; None without such maps."""
    affine = [fitted for (i, j), fitted in maps.items() if i == j and isinstance(fitted, AffineMap)]
    return max(map(distance_from_identity, affine), default=None)
