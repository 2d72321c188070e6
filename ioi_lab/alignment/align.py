"""An alignment of two models: read a corpus, fit maps of all pairs of layers both ways, try them; and as a file."""

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
_ADDED_SUMS: Final = 2
"""Beside one a fold: those of shuffled pairs, and what is being counted in."""


@dataclass(frozen=True)
class Alignment:
    """Fitted maps from the source to the target (`forward`) and back, and their errors on held-out texts."""

    forward: dict[PairOfLayers, Fit]
    backward: dict[PairOfLayers, Fit]
    forward_errors: dict[PairOfLayers, Errors]
    backward_errors: dict[PairOfLayers, Errors]
    n_positions: int
    """That the maps were fitted on; `n_texts` are theirs."""

    n_texts: int
    n_held_out: int
    """Positions that they were tried on; `n_held_out_texts` are theirs."""

    n_held_out_texts: int

    @property
    def n_parameters(self) -> int:
        """Of the largest map."""
        return max(fit.map.size for fits in (self.forward, self.backward) for fit in fits.values())


def align(reader: Reader, pairing: Pairing, config: AlignmentConfig) -> Alignment:
    """Fit and try maps on what the reader reads.

    Raises a `LabError` if the sums take more memory than the pairing may use, and what `Reader.read` raises.
    """
    _check_memory(pairing, config)
    sums = reader.read()
    forward, backward = (fit_all(sums, pairing, config, backward=back) for back in (False, True))
    errors = try_maps(reader.chunks("trying"), sums, pairing, forward, backward)
    return Alignment(
        forward=forward,
        backward=backward,
        forward_errors=errors[0],
        backward_errors=errors[1],
        n_positions=sums.n_fitted,
        n_texts=sums.texts_read - sums.held_out_texts,
        n_held_out=sums.n_held_out,
        n_held_out_texts=sums.held_out_texts,
    )


def _check_memory(pairing: Pairing, config: AlignmentConfig) -> None:
    memory = bound_in_bytes(pairing.memory_gb, pairing.models[0].device)
    needed = (config.folds + _ADDED_SUMS) * Moments.bytes(*pairing.sizes)
    if needed > memory:
        n_pairs = len(pairing.layers[0]) * len(pairing.layers[1])
        raise LabError(
            f"engine.memory_gb: the sums of {n_pairs} pairs of layers in {config.folds} folds take {in_gb(needed)} "
            f"GB, more than {in_gb(memory)} GB; choose fewer alignment.source_layers, .target_layers or .folds, or "
            "raise the bound"
        )


@dataclass(frozen=True)
class Maps:
    """Maps between two models, as other runs use them: by layer of the one and of the other."""

    forward: Mapping[PairOfLayers, AffineMap]
    backward: Mapping[PairOfLayers, AffineMap]
    r2: tuple[Mapping[PairOfLayers, float], Mapping[PairOfLayers, float]]
    """On held-out texts, forward and backward."""

    site: str
    title: str
    """Such as `ridge map fitted on tiny english`."""

    @classmethod
    def of(cls, alignment: Alignment, config: AlignmentConfig, corpus: str) -> Self:
        """Those of a new alignment."""
        return cls(
            forward={pair: fit.map for pair, fit in alignment.forward.items()},
            backward={pair: fit.map for pair, fit in alignment.backward.items()},
            r2=(
                {pair: errors.r2() for pair, errors in alignment.forward_errors.items()},
                {pair: errors.r2() for pair, errors in alignment.backward_errors.items()},
            ),
            site=config.site,
            title=f"{config.title} fitted on {corpus}",
        )

    @property
    def turned(self) -> Self:
        """With the models in each other's place."""
        return type(self)(self.backward, self.forward, self.r2[::-1], self.site, self.title)

    def of_layers(self, site: str, layers: tuple[list[int], list[int]], key: str) -> Self:
        """Those between some layers; a `LabError` that names what under `key` asks for maps that there are none of."""
        if self.site != site:
            raise LabError(f"{key}.site: got {site!r}, but the maps are of {self.site}")
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
            self.site,
            self.title,
        )


def save_maps(maps: Maps, models: tuple[LabModel, LabModel], **provenance: Any) -> bytes:
    """The maps as a safetensors file, with where they come from."""
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
        "site": maps.site,
        "title": maps.title,
        "r2": json.dumps(r2),
    }
    origin |= {name: str(value) for name, value in provenance.items()}
    return tensor_file(tensors, source.origin, KIND, **origin)


def load_maps(path: Path, models: tuple[LabModel, LabModel], key: str) -> Maps:
    """The maps of a file between these two models, whichever of them was the source.

    Raises a `LabError` that names `key` for those of other models or widths.
    """
    said, tensors = read_any_tensor_file(path, KIND, key, "cpu")
    theirs = said.get("weights_sha256"), said.get("target_weights_sha256")
    ours = tuple(model.weights_sha256 for model in models)
    if theirs not in (ours, ours[::-1]):
        names = " and ".join(model.shape.name for model in models)
        raise LabError(
            f"{key}: {str(path)!r} is of {said.get('model')} and {said.get('target')}; expected maps between {names}"
        )
    widths = [model.shape.d_model for model in (models if theirs == ours else models[::-1])]
    maps: dict[str, dict[PairOfLayers, AffineMap]] = {name: {} for name in DIRECTIONS}
    for name, matrix in tensors.items():
        direction, x_layer, y_layer, part = name.split(".")
        if part != "matrix":
            continue
        expected = widths if direction == "forward" else widths[::-1]
        if list(matrix.shape) != expected:
            raise LabError(f"{key}: {str(path)!r} holds {name} of shape {list(matrix.shape)}; expected {expected}")
        bias = tensors[f"{direction}.{x_layer}.{y_layer}.bias"]
        maps[direction][int(x_layer), int(y_layer)] = AffineMap(matrix.double(), bias.double())
    r2 = [
        {(int(pair.split(".")[0]), int(pair.split(".")[1])): float(value) for pair, value in held_out.items()}
        for held_out in json.loads(said["r2"])
    ]
    loaded = Maps(maps["forward"], maps["backward"], (r2[0], r2[1]), said["site"], said["title"])
    return loaded if theirs == ours else loaded.turned


def distance_from_identity(fitted: AffineMap) -> float:
    """‖matrix − I‖ / ‖I‖, Frobenius: near 0 for a model and itself."""
    identity = torch.eye(*fitted.matrix.shape).to(fitted.matrix)
    return float((fitted.matrix - identity).norm() / identity.norm())
