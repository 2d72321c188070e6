"""Alignments of two models: maps of all pairs of layers in both directions, tried on held-out texts; maps as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import torch

from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers
from ioi_lab.alignment.fitting import Errors, Fit, fit_all, try_maps
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.moments import Moments
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.engine.memory import bound_in_bytes, in_gb
from ioi_lab.errors import LabError
from ioi_lab.storage.tensors import read_any_tensor_file, tensor_file

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel

KIND: Final = "maps between two models"
DIRECTIONS: Final = ("forward", "backward")
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

    @property
    def n_parameters(self) -> int:
        """The number of parameters of the largest map."""
        return max(fit.map.size for fits in (self.forward, self.backward) for fit in fits.values())


def align(reader: Reader, pairing: Pairing, config: AlignmentConfig) -> Alignment:
    """Read the corpus, fit the maps and try them on the held-out texts.

    Raises a `LabError` if the moments take more memory than the pairing may use, and like `Reader.read`.
    """
    _check_memory(pairing, config)
    moments = reader.read()
    forward, backward = (fit_all(moments, pairing, config, backward=back) for back in (False, True))
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
    )


def _check_memory(pairing: Pairing, config: AlignmentConfig) -> None:
    memory = bound_in_bytes(pairing.memory_gb, pairing.models[0].device)
    needed = (config.folds + _FURTHER_MOMENTS) * Moments.bytes(*pairing.sizes)
    if needed > memory:
        n_pairs = len(pairing.layers[0]) * len(pairing.layers[1])
        raise LabError(
            f"engine.memory_gb: the sums of {n_pairs} pairs of layers in {config.folds} folds take {in_gb(needed)} "
            f"GB, more than {in_gb(memory)} GB; choose fewer alignment.source_layers, .target_layers or .folds, or "
            "raise the bound"
        )


@dataclass(frozen=True)
class Maps:
    """Maps between two models for use in other runs, by layer of the source and layer of the target."""

    forward: Mapping[PairOfLayers, AffineMap]
    backward: Mapping[PairOfLayers, AffineMap]
    r2: tuple[Mapping[PairOfLayers, float], Mapping[PairOfLayers, float]]
    """The R² on held-out texts, forward and backward."""

    component: str
    title: str
    """The kind of map and its corpus, such as `ridge map fitted on tiny english`."""

    @classmethod
    def of(cls, alignment: Alignment, config: AlignmentConfig, corpus: str) -> Self:
        """Return the maps of an alignment, fitted on the corpus of this title."""
        return cls(
            forward={pair: fit.map for pair, fit in alignment.forward.items()},
            backward={pair: fit.map for pair, fit in alignment.backward.items()},
            r2=(
                {pair: errors.r2() for pair, errors in alignment.forward_errors.items()},
                {pair: errors.r2() for pair, errors in alignment.backward_errors.items()},
            ),
            component=config.component,
            title=f"{config.title} fitted on {corpus}",
        )

    @property
    def turned(self) -> Self:
        """The same maps with source and target exchanged."""
        return type(self)(self.backward, self.forward, self.r2[::-1], self.component, self.title)

    def of_layers(self, component: str, layers: tuple[list[int], list[int]], key: str) -> Self:
        """Return the maps between some layers.

        Raises a `LabError` for a component or layers that there are no maps of; `key` is the config group in it.
        """
        if self.component != component:
            raise LabError(f"{key}.component: got {component!r}, but the maps are of {self.component}")
        wanted = list(product(*layers))
        missing = [pair for pair in wanted if pair not in self.forward]
        if missing:
            have = [sorted({pair[side] for pair in self.forward}) for side in (0, 1)]
            raise LabError(
                f"{key}.source_layers, .target_layers: there is no map from layer {missing[0][0]} to {missing[0][1]}; "
                f"there are maps between layers {have[0]} and {have[1]}"
            )
        return type(self)(
            {pair: self.forward[pair] for pair in wanted},
            {pair[::-1]: self.backward[pair[::-1]] for pair in wanted},
            self.r2,
            self.component,
            self.title,
        )


def save_maps(maps: Maps, models: tuple[LabModel, LabModel], **provenance: Any) -> bytes:
    """Return the maps as a safetensors file, with the two models, the corpus and `provenance` in its metadata."""
    tensors = {}
    for name in DIRECTIONS:
        for (x_layer, y_layer), fitted in getattr(maps, name).items():
            tensors[f"{name}.{x_layer}.{y_layer}.matrix"] = fitted.matrix.float()
            tensors[f"{name}.{x_layer}.{y_layer}.bias"] = fitted.bias.float()
    r2 = [{f"{x}.{y}": value for (x, y), value in held_out.items()} for held_out in maps.r2]
    source, target = models
    origin = {
        "target": target.config.label,
        "target_weights_sha256": target.weights_sha256,
        "site": maps.component,
        "title": maps.title,
        "r2": json.dumps(r2),
    }
    origin |= {name: str(value) for name, value in provenance.items()}
    return tensor_file(tensors, source.origin, KIND, **origin)


def load_maps(path: Path, models: tuple[LabModel, LabModel], key: str) -> Maps:
    """Return the maps in a file between these two models, whichever of them was the source.

    Raises a `LabError` that names `key` for a file that cannot be read, and for maps of other models or widths.
    """
    metadata, tensors = read_any_tensor_file(path, KIND, key, "cpu")
    in_file = metadata.get("weights_sha256"), metadata.get("target_weights_sha256")
    given = tuple(model.weights_sha256 for model in models)
    if in_file not in (given, given[::-1]):
        names = " and ".join(model.shape.name for model in models)
        raise LabError(
            f"{key}: {str(path)!r} is of {metadata.get('model')} and {metadata.get('target')}; expected maps between "
            f"{names}"
        )
    widths = [model.shape.d_model for model in (models if in_file == given else models[::-1])]
    maps: dict[str, dict[PairOfLayers, AffineMap]] = {name: {} for name in DIRECTIONS}
    for name, matrix in tensors.items():
        direction, x_layer, y_layer, part = name.split(".")
        if part != "matrix":
            continue
        expected = widths if direction == "forward" else widths[::-1]
        if list(matrix.shape) != expected:
            raise LabError(f"{key}: {str(path)!r} has {name} of shape {list(matrix.shape)}; expected {expected}")
        bias = tensors[f"{direction}.{x_layer}.{y_layer}.bias"]
        maps[direction][int(x_layer), int(y_layer)] = AffineMap(matrix.double(), bias.double())
    r2 = [
        {(int(pair.split(".")[0]), int(pair.split(".")[1])): float(value) for pair, value in held_out.items()}
        for held_out in json.loads(metadata["r2"])
    ]
    loaded = Maps(maps["forward"], maps["backward"], (r2[0], r2[1]), metadata["site"], metadata["title"])
    return loaded if in_file == given else loaded.turned


def distance_from_identity(fitted: AffineMap) -> float:
    """Return ‖matrix − I‖ / ‖I‖ (Frobenius), which is near 0 for maps from a model to itself."""
    identity = torch.eye(*fitted.matrix.shape).to(fitted.matrix)
    return float((fitted.matrix - identity).norm() / identity.norm())


def largest_distance_from_identity(maps: Mapping[PairOfLayers, AffineMap]) -> float | None:
    """Return the largest distance from the identity of the maps between equal layers; None without such maps."""
    return max((distance_from_identity(fitted) for (i, j), fitted in maps.items() if i == j), default=None)
