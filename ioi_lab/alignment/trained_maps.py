"""Maps that are trained: an affine map by stitching, and one with a hidden layer on activations.

Both are trained on a part of the texts that closed forms are fitted to, in fold 1 and later ones; fold 0 shows when to
stop. Held-out texts take no part. Activations are centred and divided by one number, the root mean square of their
dimensions, so that one learning rate suits all models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers
from ioi_lab.alignment.fitting import Fit
from ioi_lab.alignment.maps import MAP_METHODS, AffineMap
from ioi_lab.alignment.nonlinear import ActivationMap, MlpMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.stitching import StitchBatch, kl_from_own, log_probs, pieces_by_length
from ioi_lab.alignment.text_activations import ReadPiece, joined_activations
from ioi_lab.alignment.training import Objective, Parameters, TrainingSettings, train
from ioi_lab.alignment.training_checkpoint import TrainingCheckpoint
from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.terminal import progress_bar

STOPPING_FOLD: Final = 0
"""The fold of texts, or of answers if maps of heads are trained, that shows when to stop."""

MAX_EVALUATED: Final = 100
"""The greatest number of pieces of text for each of both losses of the curve."""

_POSITIONS_PER_TEXT: Final = 16
"""The positions that a text counts for in a batch of `mlp`, whose batches are positions of all texts."""


@dataclass(frozen=True)
class Scales:
    """The means and the root mean squares of the activations of both models, by which they are standardized."""

    mean_x: Float[Tensor, "d_x"]
    mean_y: Float[Tensor, "d_y"]
    rms_x: float
    rms_y: float

    @classmethod
    def of(cls, x: Float[Tensor, "position d_x"], y: Float[Tensor, "position d_y"]) -> Scales:
        """Return the scales of activations."""
        means = x.mean(dim=0), y.mean(dim=0)
        first, second = (
            max(float((each - mean).square().mean().sqrt()), 1e-12) for each, mean in zip((x, y), means, strict=True)
        )
        return cls(*means, first, second)


def train_all(
    fits: Mapping[PairOfLayers, Fit],
    pieces: Sequence[ReadPiece],
    pairing: Pairing,
    config: AlignmentConfig,
    checkpoint: TrainingCheckpoint,
    seed: int,
    *,
    backward: bool,
) -> dict[PairOfLayers, Fit]:
    """Return the fits with their maps trained, one after another; `pieces` are those of the texts of all folds.

    Raises a `LabError` if a training diverges.
    """
    settings = training_settings(config, seed)
    kind = MAP_METHODS[config.method].training
    trained = {}
    with progress_bar(len(fits), "training", unit="map") as bar:
        for (x_layer, y_layer), fit in fits.items():
            side = 0 if backward else 1
            places = pairing.layers[1 - side].index(x_layer), pairing.layers[side].index(y_layer)
            x, y = (joined_activations(pieces, s, place) for s, place in zip((1 - side, side), places, strict=True))
            scales = Scales.of(x, y)
            objective: Objective[Any]
            if kind == "stitching":
                assert isinstance(fit.map, AffineMap)
                site = Site(pairing.component, y_layer)
                objective = stitching_objective(pieces, pairing, side, places[0], site, fit.map, scales, settings)
            else:
                objective = activation_objective(pieces, side, places, scales, config.hidden, settings)
            name = f"{'backward' if backward else 'forward'}.{x_layer}.{y_layer}"
            what = f"map from layer {x_layer} of {pairing.names[1 - side]} to layer {y_layer} of {pairing.names[side]}"
            if name not in checkpoint.finished:
                save = _saving(checkpoint, name)
                checkpoint.finish(name, *train(objective, settings, what, checkpoint.state_of(name), save))
            parameters, curve = checkpoint.finished[name]
            trained[x_layer, y_layer] = replace(fit, map=map_of(parameters, scales), curve=curve)
            bar.update()
    return trained


def training_settings(config: AlignmentConfig, seed: int) -> TrainingSettings:
    """Return the settings of a training, which are keys of `conf/alignment/`."""
    keys = ("steps", "batch", "learning_rate", "weight_decay", "evaluate_every", "patience")
    return TrainingSettings(**{key: getattr(config, key) for key in keys}, seed=seed)


def _saving(checkpoint: TrainingCheckpoint, name: str) -> Callable[[Any], None]:
    return lambda state: checkpoint.save(name, state)


def map_of(parameters: Parameters, scales: Scales) -> ActivationMap:
    """Return the map of activations that standardized parameters stand for, in float64 on the device of the scales."""
    mean_x, mean_y = scales.mean_x.double(), scales.mean_y.double()
    own = {name: tensor.to(mean_x) for name, tensor in parameters.items()}
    into = own["matrix"] / scales.rms_x
    if "out_matrix" not in own:
        matrix = into * scales.rms_y
        return AffineMap(matrix, mean_y + scales.rms_y * own["bias"] - mean_x @ matrix)
    return MlpMap(
        into,
        own["bias"] - mean_x @ into,
        scales.rms_y * own["out_matrix"],
        mean_y + scales.rms_y * own["out_bias"],
    )


def stitching_objective(
    pieces: Sequence[ReadPiece],
    pairing: Pairing,
    side: int,
    x_layer: int,
    site: Site,
    start: AffineMap,
    scales: Scales,
    settings: TrainingSettings,
) -> Objective[StitchBatch]:
    """Return the objective KL(own ‖ stitched) of the target's next-token distributions, from a fitted affine map."""
    model = pairing.models[side]
    mean_x, mean_y = (each.to(model.device) for each in (scales.mean_x, scales.mean_y))

    def batches_of(some: Sequence[ReadPiece], most: int) -> list[StitchBatch]:
        groups = pieces_by_length(some, side, most, model, pairing.memory_gb)
        return [StitchBatch.of(group, side, x_layer, model.device) for group in groups]

    training, stopping = _parts(pieces)

    def epoch(seed: int) -> list[StitchBatch]:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(training), generator=generator).tolist()
        batches = batches_of([training[index] for index in order], settings.batch)
        return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]

    def loss(parameters: Parameters, batch: StitchBatch) -> Tensor:
        with torch.no_grad():
            own = log_probs(model, site, batch, None)
        standardized = (batch.x - mean_x) / scales.rms_x
        mapped = mean_y + scales.rms_y * (standardized @ parameters["matrix"] + parameters["bias"])
        return kl_from_own(own, log_probs(model, site, batch, mapped)).mean()

    matrix = start.matrix * (scales.rms_x / scales.rms_y)
    bias = (start(scales.mean_x.to(start.bias)) - scales.mean_y.to(start.bias)) / scales.rms_y
    return Objective(
        {"matrix": matrix.float().to(model.device), "bias": bias.float().to(model.device)},
        epoch,
        loss,
        batches_of(training[:MAX_EVALUATED], settings.batch),
        batches_of(stopping[:MAX_EVALUATED], settings.batch),
        len,
    )


def activation_objective(
    pieces: Sequence[ReadPiece],
    side: int,
    layers: tuple[int, int],
    scales: Scales,
    hidden: int,
    settings: TrainingSettings,
) -> Objective[tuple[Tensor, Tensor]]:
    """Return the objective of a map with a hidden layer: the mean squared error in mean variances of y, 1 − R²."""
    training, stopping = _parts(pieces)

    def standardized(some: Sequence[ReadPiece]) -> tuple[Tensor, Tensor]:
        x, y = (joined_activations(some, s, layer) for s, layer in zip((1 - side, side), layers, strict=True))
        return (x - scales.mean_x) / scales.rms_x, (y - scales.mean_y) / scales.rms_y

    x, y = standardized(training)
    size = settings.batch * _POSITIONS_PER_TEXT

    def epoch(seed: int) -> list[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
        return [(x[rows], y[rows]) for rows in order.split(size)]

    def loss(parameters: Parameters, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.mse_loss(MlpMap(**parameters)(batch[0]), batch[1])

    generator = torch.Generator().manual_seed(settings.seed)
    d_x, d_y = x.shape[1], y.shape[1]

    def drawn(rows: int, columns: int, variance: float) -> Tensor:
        return (torch.randn(rows, columns, generator=generator) * math.sqrt(variance)).to(x.device)

    start = {
        "matrix": drawn(d_x, hidden, 2 / d_x),  # He et al. 2015, for relu
        "bias": torch.zeros(hidden, device=x.device),
        "out_matrix": drawn(hidden, d_y, 1 / hidden),
        "out_bias": torch.zeros(d_y, device=x.device),
    }
    some_training, some_stopping = (standardized(part[:MAX_EVALUATED]) for part in (training, stopping))
    return Objective(start, epoch, loss, [some_training], [some_stopping], lambda batch: len(batch[0]))


def _parts(pieces: Sequence[ReadPiece]) -> tuple[list[ReadPiece], list[ReadPiece]]:
    """Return the pieces to train on and those that show when to stop."""
    training = [each for each in pieces if each.piece.fold != STOPPING_FOLD]
    stopping = [each for each in pieces if each.piece.fold == STOPPING_FOLD]
    if not training or not stopping:
        n_texts = len({each.piece.text for each in pieces})
        raise LabError(
            f"alignment.train_texts: of the {n_texts} texts that are read, none is left to train on or to show when to "
            "stop; choose more texts, or a larger corpus"
        )
    return training, stopping
