"""Alignments of two models: maps of all pairs of layers in both directions, tried on held-out texts; maps as files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import torch
from pydantic import Field, Json

from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers, Stream
from ioi_lab.alignment.fitting import Errors, Fit, fit_all, try_maps
from ioi_lab.alignment.layer_pairs import chosen_pairs
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.moments import Moments
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.alignment.row_sample import RowSample
from ioi_lab.engine.memory import bound_in_bytes, in_gb
from ioi_lab.errors import LabError
from ioi_lab.storage.tensors import Metadata, TensorKind

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel

DIRECTIONS: Final = ("forward", "backward")
_LAYER: Final = r"(0|[1-9]\d{0,5})"
_PairName = Annotated[str, Field(pattern=rf"^{_LAYER}\.{_LAYER}$")]
_FORWARD: Final = re.compile(rf"forward\.{_LAYER}\.{_LAYER}\.(?:matrix|bias)")


class MapMetadata(Metadata):
    """What a file of maps says about them."""

    target: str
    target_weights_sha256: str
    site: Stream
    title: str
    r2: Json[tuple[dict[_PairName, float], dict[_PairName, float]]]
    """Held-out R² by pair of layers, such as `2.3`, of each direction."""


MAPS: Final = TensorKind("maps between two models", MapMetadata)
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

    Raises a `LabError` if the moments take more memory than the pairing may use, and like `Reader.read`.
    """
    _check_memory(pairing, config)
    moments = reader.read()
    pairs = chosen_pairs(config.layers, moments, pairing)
    forward, backward = (fit_all(moments, pairing, config, pairs, backward=back) for back in (False, True))
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
    return MAPS.content(tensors, source.origin, **origin)


def load_maps(path: Path, models: tuple[LabModel, LabModel], key: str) -> Maps:
    """Return the maps in a file between these two models, whichever of them was the source.

    Raises a `LabError` that names `key` for a file that cannot be read, and for maps of other models or widths.
    """
    file = MAPS.read(path, key)
    in_file = file.metadata.weights_sha256, file.metadata.target_weights_sha256
    given = tuple(model.weights_sha256 for model in models)
    if in_file not in (given, given[::-1]):
        names = " and ".join(model.shape.name for model in models)
        file.refuse(f"is of {file.metadata.model} and {file.metadata.target}; expected maps between {names}")
    d_x, d_y = (model.shape.d_model for model in (models if in_file == given else models[::-1]))
    pairs = {(int(match[1]), int(match[2])) for match in map(_FORWARD.fullmatch, file.tensors) if match}
    maps: dict[str, dict[PairOfLayers, AffineMap]] = {name: {} for name in DIRECTIONS}
    shapes = {"forward": (d_x, d_y), "backward": (d_y, d_x)}
    sides = {"forward": sorted(pairs), "backward": sorted(pair[::-1] for pair in pairs)}
    file.check_shapes(
        {
            f"{direction}.{x}.{y}.{part}": size
            for direction, shape in shapes.items()
            for x, y in sides[direction]
            for part, size in (("matrix", shape), ("bias", shape[1:]))
        }
    )
    for direction, pairs_of_layers in sides.items():
        for x, y in pairs_of_layers:
            matrix, bias = (file.tensors[f"{direction}.{x}.{y}.{part}"].double() for part in ("matrix", "bias"))
            maps[direction][x, y] = AffineMap(matrix, bias)
    r2 = [{_pair(name): value for name, value in held_out.items()} for held_out in file.metadata.r2]
    if any(not maps[direction].keys() <= known.keys() for known, direction in zip(r2, DIRECTIONS, strict=True)):
        file.refuse("has other maps than its metadata lists (r2)")
    loaded = Maps(maps["forward"], maps["backward"], (r2[0], r2[1]), file.metadata.site, file.metadata.title)
    return loaded if in_file == given else loaded.turned


def _pair(name: str) -> PairOfLayers:
    x, y = name.split(".")
    return int(x), int(y)


def distance_from_identity(fitted: AffineMap) -> float:
    """Return ‖matrix − I‖ / ‖I‖ (Frobenius), which is near 0 for maps from a model to itself."""
    identity = torch.eye(*fitted.matrix.shape).to(fitted.matrix)
    return float((fitted.matrix - identity).norm() / identity.norm())


def largest_distance_from_identity(maps: Mapping[PairOfLayers, AffineMap]) -> float | None:
    """Return the largest distance from the identity of the maps between equal layers; None without such maps."""
    return max((distance_from_identity(fitted) for (i, j), fitted in maps.items() if i == j), default=None)
