"""Maps between two models for use in other runs, and the file that they are in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Self, TypeVar

from pydantic import Field, Json

from ioi_lab.alignment.align import Alignment
from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers, Stream
from ioi_lab.alignment.maps import MAP_METHODS, AffineMap
from ioi_lab.alignment.nonlinear import ActivationMap, MlpMap
from ioi_lab.errors import LabError
from ioi_lab.storage.tensors import Metadata, TensorFile, TensorKind

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel

MapT = TypeVar("MapT", bound=ActivationMap, covariant=True)

DIRECTIONS: Final = ("forward", "backward")
_LAYER: Final = r"(0|[1-9]\d{0,5})"
_PairName = Annotated[str, Field(pattern=rf"^{_LAYER}\.{_LAYER}$")]
_FORWARD: Final = re.compile(rf"forward\.{_LAYER}\.{_LAYER}\.\w+")


class MapMetadata(Metadata):
    """What a file of maps says about them."""

    target: str
    target_weights_sha256: str
    site: Stream
    title: str
    r2: Json[tuple[dict[_PairName, float], dict[_PairName, float]]]
    """Held-out R² by pair of layers, such as `2.3`, of each direction."""

    hidden: Json[Annotated[int, Field(ge=0, le=1_000_000)]] = 0
    """The width of the hidden layer of the maps; 0 for affine maps."""

    dtypes: Json[tuple[str, str]] | None = None
    """The types of both models' activations, such as `float32`; None in files of earlier versions."""


MAPS: Final = TensorKind("maps between two models", MapMetadata)


@dataclass(frozen=True)
class Maps(Generic[MapT]):
    """Maps between two models for use in other runs, by layer of the source and layer of the target."""

    forward: Mapping[PairOfLayers, MapT]
    backward: Mapping[PairOfLayers, MapT]
    r2: tuple[Mapping[PairOfLayers, float], Mapping[PairOfLayers, float]]
    """The R² on held-out texts, forward and backward."""

    component: str
    title: str
    """The kind of map and its corpus, such as `ridge map fitted on tiny english`."""

    @classmethod
    def of(cls, alignment: Alignment, config: AlignmentConfig, corpus: str) -> Maps[ActivationMap]:
        """Return the maps of an alignment, fitted on the corpus of this title."""
        return Maps(
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
        return replace(self, forward=self.backward, backward=self.forward, r2=self.r2[::-1])

    def affine(self, key: str) -> Maps[AffineMap]:
        """Return the maps, all of which have to be affine; raises a `LabError` that names `key` for others."""
        both = []
        for maps in (self.forward, self.backward):
            affine = {pair: each for pair, each in maps.items() if isinstance(each, AffineMap)}
            if len(affine) < len(maps):
                raise LabError(no_directions(key, self.title))
            both.append(affine)
        return Maps(both[0], both[1], self.r2, self.component, self.title)

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


def no_directions(key: str, what: str) -> str:
    """Return the error for maps that map activations alone, where the image of a direction is needed."""
    usable = [name for name in MAP_METHODS.names if MAP_METHODS[name].maps_directions and name != "mean_shift"]
    return (
        f"{key}: got {what}, which has no image of a direction by itself (it depends on the activation that the "
        f"direction is added to); expected a method with affine maps: {', '.join(usable)}"
    )


def save_maps(maps: Maps[ActivationMap], models: tuple[LabModel, LabModel], **provenance: Any) -> bytes:
    """Return the maps as a safetensors file, with the two models, the corpus and `provenance` in its metadata."""
    tensors = {}
    for name in DIRECTIONS:
        for (x_layer, y_layer), fitted in getattr(maps, name).items():
            for part, tensor in vars(fitted).items():
                tensors[f"{name}.{x_layer}.{y_layer}.{part}"] = tensor.float()
    r2 = [{f"{x}.{y}": value for (x, y), value in held_out.items()} for held_out in maps.r2]
    source, target = models
    origin = {
        "target": target.config.label,
        "target_weights_sha256": target.weights_sha256,
        "site": maps.component,
        "title": maps.title,
        "r2": json.dumps(r2),
        "hidden": json.dumps(max(len(each.bias) if isinstance(each, MlpMap) else 0 for each in maps.forward.values())),
        "dtypes": json.dumps([_dtype(model) for model in models]),
    }
    origin |= {name: str(value) for name, value in provenance.items()}
    return MAPS.content(tensors, source.origin, **origin)


def load_maps(path: Path, models: tuple[LabModel, LabModel], key: str) -> Maps[ActivationMap]:
    """Return the maps in a file between these two models, whichever of them was the source.

    Raises a `LabError` that names `key` for a file that cannot be read, and for maps of other models, widths or types
    of activations.
    """
    file = MAPS.read(path, key)
    in_file = file.metadata.weights_sha256, file.metadata.target_weights_sha256
    given = tuple(model.weights_sha256 for model in models)
    if in_file not in (given, given[::-1]):
        names = " and ".join(model.shape.name for model in models)
        file.refuse(f"is of {file.metadata.model} and {file.metadata.target}; expected maps between {names}")
    in_order = models if in_file == given else models[::-1]
    _check_dtypes(file, in_order)
    maps = _maps_in(file, in_order)
    r2 = [{_pair(name): value for name, value in held_out.items()} for held_out in file.metadata.r2]
    if any(not maps[direction].keys() <= known.keys() for known, direction in zip(r2, DIRECTIONS, strict=True)):
        file.refuse("has other maps than its metadata lists (r2)")
    loaded = Maps(maps["forward"], maps["backward"], (r2[0], r2[1]), file.metadata.site, file.metadata.title)
    return loaded if in_file == given else loaded.turned


def _check_dtypes(file: TensorFile[MapMetadata], models: tuple[LabModel, LabModel]) -> None:
    there, here = file.metadata.dtypes, (_dtype(models[0]), _dtype(models[1]))
    if there is not None and tuple(there) != here:
        file.refuse(
            f"was fitted on activations in {' and '.join(there)} ({file.metadata.model}, {file.metadata.target}), but "
            f"the models are in {' and '.join(here)}; fit the maps again, or load the models with these dtypes"
        )


def _dtype(model: LabModel) -> str:
    return str(next(model.bridge.parameters()).dtype).removeprefix("torch.")


def _maps_in(
    file: TensorFile[MapMetadata], models: tuple[LabModel, LabModel]
) -> dict[str, dict[PairOfLayers, ActivationMap]]:
    """Return the maps in a file of these models, source first, by direction."""
    d_x, d_y = (model.shape.d_model for model in models)
    pairs = {(int(match[1]), int(match[2])) for match in map(_FORWARD.fullmatch, file.tensors) if match}
    widths = {"forward": (d_x, d_y), "backward": (d_y, d_x)}
    sides = {"forward": sorted(pairs), "backward": sorted(pair[::-1] for pair in pairs)}
    hidden = file.metadata.hidden
    shapes = {direction: _shapes(*widths[direction], hidden) for direction in DIRECTIONS}
    file.check_shapes(
        {
            f"{direction}.{x}.{y}.{part}": size
            for direction, of_parts in shapes.items()
            for x, y in sides[direction]
            for part, size in of_parts.items()
        }
    )
    kind: type[AffineMap] | type[MlpMap] = MlpMap if hidden else AffineMap
    return {
        direction: {
            (x, y): kind(**{part: file.tensors[f"{direction}.{x}.{y}.{part}"].double() for part in shapes[direction]})
            for x, y in sides[direction]
        }
        for direction in DIRECTIONS
    }


def _shapes(d_x: int, d_y: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parts of a map."""
    if not hidden:
        return {"matrix": (d_x, d_y), "bias": (d_y,)}
    return {"matrix": (d_x, hidden), "bias": (hidden,), "out_matrix": (hidden, d_y), "out_bias": (d_y,)}


def _pair(name: str) -> PairOfLayers:
    x, y = name.split(".")
    return int(x), int(y)
