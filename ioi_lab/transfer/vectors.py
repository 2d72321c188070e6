"""Steering one model with a vector of another: native, carried over, and controls, swept over scales."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Final, Self, TypeVar

import numpy as np

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.stats.metrics import Readout
from ioi_lab.stats.responses import Response
from ioi_lab.steering.methods import METHODS, Vector, random_direction
from ioi_lab.steering.vectors import activations_at, add_direction
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.sides import Side
from ioi_lab.transfer.vocabulary import SharedVocabulary, Translator, token_readout

if TYPE_CHECKING:
    from ioi_lab.models.shape import Component

Key = TypeVar("Key")

RANDOM: Final = "random map"
SHIFT: Final = "mean shift"
SHUFFLED: Final = "shuffled vocabulary"
_PROBE: Final = (-1.0, 1.0)
"""The scales at which training prompts are steered to choose a pair of layers."""


@dataclass(frozen=True)
class Native:
    """A model's own vectors of a contrast, by layer."""

    side: Side
    component: Component
    position: Position
    vectors: Mapping[int, Vector]

    @classmethod
    def of(cls, side: Side, component: Component, position: Position, layers: Sequence[int], method: str) -> Native:
        """From the training prompts; a `LabError` for fewer of them than the method needs."""
        sites = {layer: Site(component, layer, None, position) for layer in layers}
        positive, negative = (activations_at(side.sides, run, list(sites.values())) for run in ("clean", "corrupted"))
        vectors = {layer: METHODS[method](positive[site], negative[site]) for layer, site in sites.items()}
        return cls(side, component, position, vectors)

    def edits(self, vector: Vector, layer: int, scales: Sequence[float], *, training: bool = False) -> list[EditSet]:
        """An edit set a scale, which adds a vector towards each prompt's answer."""
        contrast = self.side.contrast
        signs = [prompt.sign for prompt in contrast.training] if training else contrast.signs
        return add_direction(Site(self.component, layer, None, self.position), np.outer(signs, vector), scales)


class Carrier(ABC):
    """A way to carry vectors from a model to another, and what to compare it with."""

    @abstractmethod
    def carry(self, pair: PairOfLayers) -> Vector:
        """What the vector of the one model's layer becomes in the other's."""

    @abstractmethod
    def controls(self, pair: PairOfLayers, carried: Vector) -> dict[str, Vector]:
        """Others to compare it with, as long as it, by name."""


@dataclass(frozen=True)
class ThroughMaps(Carrier):
    """Through the fitted map of the pair of layers. Controls: maps drawn at random, and the one that shifts means."""

    source: Native
    maps: Mapping[PairOfLayers, AffineMap]
    n_controls: int
    seed: int

    def carry(self, pair: PairOfLayers) -> Vector:
        """Through the map's matrix: a difference of activations has no mean."""
        carried: Vector = self.source.vectors[pair[0]] @ self.maps[pair].matrix.cpu().numpy()
        return carried

    def controls(self, pair: PairOfLayers, carried: Vector) -> dict[str, Vector]:
        """What random maps make of any vector is a direction drawn at random."""
        vector, norm = self.source.vectors[pair[0]], float(np.linalg.norm(carried))
        drawn = {
            f"{RANDOM} {index}": random_direction(norm, len(carried), [self.seed, *pair, index])
            for index in range(self.n_controls)
        }
        return {**drawn, SHIFT: as_long_as(vector @ np.eye(len(vector), len(carried)), carried)}


@dataclass(frozen=True)
class ThroughVocabulary(Carrier):
    """Through the tokens that both models have. Controls: each logit given to another token."""

    source: Native
    translator: Translator
    n_controls: int
    seed: int

    @classmethod
    def of(cls, source: Native, target: Native, n_controls: int, seed: int) -> Self:
        """A `LabError` where the vocabularies share no token."""
        shared = SharedVocabulary.of(source.side.model.tokens, target.side.model.tokens)
        readouts = token_readout(source.side.sides), token_readout(target.side.sides)
        return cls(source, Translator(*readouts, shared), n_controls, seed)

    def carry(self, pair: PairOfLayers) -> Vector:
        """The same in every layer of the target."""
        return self._carried(pair[0])

    def _carried(self, layer: int) -> Vector:
        if layer not in self._done:
            self._done[layer] = self.translator.translate(self.source.vectors[layer])
        return self._done[layer]

    @cached_property
    def _done(self) -> dict[int, Vector]:
        return {}

    def controls(self, pair: PairOfLayers, carried: Vector) -> dict[str, Vector]:
        """From the same logits in another order."""
        vector, rng = self.source.vectors[pair[0]], np.random.default_rng([self.seed, *pair])
        return {
            f"{SHUFFLED} {index}": as_long_as(self.translator.translate(vector, rng), carried)
            for index in range(self.n_controls)
        }


@dataclass(frozen=True)
class Crossing:
    """What came of steering the model `target` with vectors of `source`. Readouts go scale by scale."""

    source: Native
    target: Native
    carrier: Carrier
    scales: list[float]
    carried: dict[PairOfLayers, Vector]
    """By layer of the source and layer of the target."""

    clean: Readout
    corrupted: Readout
    native: dict[int, Readout]
    """By layer of the target."""

    moved: dict[PairOfLayers, Readout]
    best: PairOfLayers
    """Into the layer where the native vector is steepest, from where the carried one is: on the training prompts."""

    controls: dict[str, Readout]
    """Of the best pair, by name."""

    def response(self, readout: Readout) -> Response:
        """The logit difference by scale."""
        return Response.of(self.scales, readout.logit_diff, self.clean.logit_diff[0])


def cross(source: Native, target: Native, carrier: Carrier, scales: list[float]) -> Crossing:
    """Steer the target's held-out prompts at each pair of layers, natively, and with the best pair's controls."""
    carried = {pair: carrier.carry(pair) for pair in product(source.vectors, target.vectors)}
    best = _best_pair(target, carried)
    controls = carrier.controls(best, carried[best])
    held_out = target.side.held_out
    plan = [edits for layer, own in target.vectors.items() for edits in target.edits(own, layer, scales)]
    plan += [edits for pair, vector in carried.items() for edits in target.edits(vector, pair[1], scales)]
    plan += [edits for vector in controls.values() for edits in target.edits(vector, best[1], scales)]
    readout = held_out.run(plan, "clean")
    parts = iter(readout.select(slice(start, start + len(scales))) for start in range(0, len(plan), len(scales)))
    return Crossing(
        source=source,
        target=target,
        carrier=carrier,
        scales=scales,
        carried=carried,
        clean=held_out.baseline("clean"),
        corrupted=held_out.baseline("corrupted"),
        native={layer: next(parts) for layer in target.vectors},
        moved={pair: next(parts) for pair in carried},
        best=best,
        controls={name: next(parts) for name in controls},
    )


def _best_pair(target: Native, carried: Mapping[PairOfLayers, Vector]) -> PairOfLayers:
    """The layer where the target's own vector is steepest, and from where the steepest one comes into it.

    Told on the training prompts.
    """
    layer = _steepest(target, {layer: (layer, vector) for layer, vector in target.vectors.items()})
    into = {pair: (layer, vector) for pair, vector in carried.items() if pair[1] == layer}
    return _steepest(target, into)


def _steepest(target: Native, vectors: Mapping[Key, tuple[int, Vector]]) -> Key:
    """The key of the vector that moves the training prompts farthest towards their answer, in its layer."""
    plan = [edits for layer, vector in vectors.values() for edits in target.edits(vector, layer, _PROBE, training=True)]
    moved = target.side.training.run(plan, "clean").logit_diff.mean(axis=1).reshape(-1, len(_PROBE))
    return list(vectors)[int((moved[:, 1] - moved[:, 0]).argmax())]


def as_long_as(vector: Vector, other: Vector) -> Vector:
    """A vector of the one's direction and the other's norm; one without a direction stays so."""
    norm = float(np.linalg.norm(vector))
    scaled: Vector = vector * (float(np.linalg.norm(other)) / norm if norm else 0.0)
    return scaled


def cosine(one: Vector, other: Vector) -> float:
    """The cosine between two vectors; 0 where one of them is nothing."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else 0.0
