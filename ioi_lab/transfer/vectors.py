"""Steering one model with the vectors of another: native vectors, transferred ones and controls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from typing_extensions import override

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.methods import Activations, Vector, make_vector, random_direction
from ioi_lab.steering.vectors import activations_at, add_direction
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.shared_prompts import ModelOnPrompts
from ioi_lab.transfer.translators import LogitTranslator, RowTranslator, Translation, Translator
from ioi_lab.transfer.vocabulary import SharedVocabulary, token_readout, unembedding_rows

if TYPE_CHECKING:
    from ioi_lab.models.shape import Component

NATIVE: Final = "native"
CARRIED: Final = "carried"
AT_NATIVE_NORM: Final = "carried at native norm"
NATIVE_AT_CARRIED_NORM: Final = "native at carried norm"
RANDOM: Final = "random map"
SHIFT: Final = "mean shift"
SHUFFLED: Final = "shuffled vocabulary"
_PROBE_SCALES: Final = (-1.0, 1.0)
"""The scales at which training prompts are steered to choose a pair of layers."""


@dataclass(frozen=True)
class NativeVectors:
    """The vectors that a model has itself for a contrast, by layer."""

    on_prompts: ModelOnPrompts
    component: Component
    position: Position
    method: str
    sides: Mapping[int, tuple[Activations, Activations]]
    """The activations of the positive and of the negative side of each training prompt, by layer."""

    vectors: Mapping[int, Vector]

    @classmethod
    def of(
        cls, on_prompts: ModelOnPrompts, component: Component, position: Position, layers: Sequence[int], method: str
    ) -> NativeVectors:
        """Return the vectors that a method makes from the training prompts.

        Raises a `LabError` for fewer prompts than the method needs.
        """
        sites = {layer: Site(component, layer, None, position) for layer in layers}
        positive = activations_at(on_prompts.sides, "clean", list(sites.values()))
        negative = activations_at(on_prompts.sides, "corrupted", list(sites.values()))
        both = {layer: (positive[site], negative[site]) for layer, site in sites.items()}
        vectors = {layer: make_vector(method, *activations) for layer, activations in both.items()}
        return cls(on_prompts, component, position, method, both, vectors)

    def at(self, layer: int) -> NativeVectors:
        """Return the vector of one layer alone."""
        return replace(self, sides={layer: self.sides[layer]}, vectors={layer: self.vectors[layer]})

    def refit(self, layer: int, prompts: Int[NDArray[np.int_], "prompt"]) -> Vector:
        """Return the vector that the method makes from some of the training prompts, which may repeat."""
        positive, negative = self.sides[layer]
        return make_vector(self.method, positive[prompts], negative[prompts])

    def edits(self, vector: Vector, layer: int, scales: Sequence[float], *, training: bool = False) -> list[EditSet]:
        """Return one edit set per scale, which adds a vector towards the answer of each held-out or training prompt."""
        contrast = self.on_prompts.contrast
        signs = [prompt.sign for prompt in contrast.training] if training else contrast.signs
        return add_direction(Site(self.component, layer, None, self.position), np.outer(signs, vector), scales)


class Route(ABC):
    """A way to carry vectors from one model to another, with its controls."""

    source: NativeVectors

    control_noun: str
    """The noun, in the plural, for the controls that are drawn at random."""

    drawn_prefix: str
    """The start of the names of these controls."""

    @abstractmethod
    def image(self, vector: Vector, pair: PairOfLayers) -> Vector:
        """Return the image in the target's layer of any direction in the source's layer."""

    def carry(self, pair: PairOfLayers) -> Vector:
        """Return the image in the target's layer of the vector of the source's layer."""
        return self.image(self.source.vectors[pair[0]], pair)

    @abstractmethod
    def controls(self, pair: PairOfLayers, carried: Vector) -> dict[str, Vector]:
        """Return vectors to compare the carried one with, by name; they have its norm."""


@dataclass(frozen=True)
class ThroughMaps(Route):
    """Through the fitted map of the pair of layers. Controls: maps drawn at random, and the one that shifts means."""

    source: NativeVectors
    maps: Mapping[PairOfLayers, AffineMap]
    n_controls: int
    seed: int

    control_noun = "random maps"
    drawn_prefix = RANDOM

    @override
    def image(self, vector: Vector, pair: PairOfLayers) -> Vector:
        """Return the vector times the map's matrix: a difference of activations is not shifted by the bias."""
        carried: Vector = vector @ self.maps[pair].matrix.cpu().numpy()
        return carried

    @override
    def controls(self, pair: PairOfLayers, carried: Vector) -> dict[str, Vector]:
        """Return random directions, which are the images of a vector under random maps, and the mean shift's image."""
        vector, norm = self.source.vectors[pair[0]], float(np.linalg.norm(carried))
        drawn = {
            f"{RANDOM} {index}": random_direction(norm, len(carried), [self.seed, *pair, index])
            for index in range(self.n_controls)
        }
        return {**drawn, SHIFT: with_norm_of(vector @ np.eye(len(vector), len(carried)), carried)}


@dataclass(frozen=True)
class ThroughVocabulary(Route):
    """Through the tokens that both models have. Controls: the same route with each token in the place of another."""

    source: NativeVectors
    translator: Translator
    shared_mass: Callable[[Vector], float]
    """Returns the share of a vector's logits that lies on shared tokens."""

    n_controls: int
    seed: int

    control_noun = "shuffled vocabularies"
    drawn_prefix = SHUFFLED

    @classmethod
    def of(
        cls, source: NativeVectors, target: NativeVectors, n_controls: int, seed: int, kind: Translation = "logits"
    ) -> Self:
        """Return the route between two models; raises a `LabError` if they share no token.

        The penalty of `logits` is chosen for the source's last vector.
        """
        one, other = source.on_prompts, target.on_prompts
        shared = SharedVocabulary.of(one.model.tokens, other.model.tokens)
        readouts = token_readout(one.sides), token_readout(other.sides)
        by_logits = LogitTranslator.fitted(readouts, shared, source.vectors[max(source.vectors)])
        translator: Translator = by_logits
        if kind == "rows":
            rows = unembedding_rows(one.model), unembedding_rows(other.model)
            translator = RowTranslator.fitted(rows, shared)
        return cls(source, translator, by_logits.shared_mass, n_controls, seed)

    @override
    def image(self, vector: Vector, pair: PairOfLayers) -> Vector:
        return self.translator.translate(vector)

    @override
    def carry(self, pair: PairOfLayers) -> Vector:
        """Return the translated vector, which is the same in every layer of the target."""
        layer = pair[0]
        if layer not in self._translated:
            self._translated[layer] = super().carry(pair)
        return self._translated[layer]

    @cached_property
    def _translated(self) -> dict[int, Vector]:
        return {}

    @override
    def controls(self, pair: PairOfLayers, carried: Vector) -> dict[str, Vector]:
        vector, rng = self.source.vectors[pair[0]], np.random.default_rng([self.seed, *pair])
        return {
            f"{SHUFFLED} {index}": with_norm_of(self.translator.translate(vector, rng), carried)
            for index in range(self.n_controls)
        }


@dataclass(frozen=True)
class SteeringVector:
    """A vector that the target is steered with in one layer."""

    name: str
    """`native`, `carried`, each of them at the norm of the other, or the name of a control."""

    source_layer: int | None
    """The layer of the source that the vector comes from; None for native vectors."""

    layer: int
    vector: Vector
    norm: float
    """The norm of the vector; that of a control is the carried vector's."""

    @property
    def is_control(self) -> bool:
        """Whether the vector is neither native nor carried."""
        return self.name not in (NATIVE, CARRIED, AT_NATIVE_NORM, NATIVE_AT_CARRIED_NORM)


@dataclass(frozen=True)
class VectorTransfer:
    """The vectors that a model is steered with to measure what transfers from another model."""

    source: NativeVectors
    target: NativeVectors
    route: Route
    vectors: list[SteeringVector]
    """Native vectors by layer, carried ones by pair of layers; of the best pair the carried one at the native vector's
    norm, and controls."""

    best: PairOfLayers
    """The layers of source and target in which each one's own vector is steepest, on the training prompts.

    What the carried vectors do takes no part in the choice: else the best of many would be compared with controls that
    nobody has chosen.
    """

    @property
    def vectors_of_best(self) -> list[SteeringVector]:
        """The vectors in the best pair of layers: native, carried, carried at the native norm, controls."""
        return [
            each for each in self.vectors if each.layer == self.best[1] and each.source_layer in (None, self.best[0])
        ]

    def edit_sets(self, scales: Sequence[float]) -> list[EditSet]:
        """Return the edit sets that steer the held-out prompts: for each vector, one per scale."""
        return [edits for each in self.vectors for edits in self.target.edits(each.vector, each.layer, scales)]

    def through_other_maps(self, maps: Mapping[PairOfLayers, AffineMap], n_controls: int, seed: int) -> VectorTransfer:
        """Return the transfer of the best pair's vector through another map of the same layers."""
        source, target = self.source.at(self.best[0]), self.target.at(self.best[1])
        return transfer_vectors(source, target, ThroughMaps(source, maps, n_controls, seed))


def transfer_vectors(source: NativeVectors, target: NativeVectors, route: Route) -> VectorTransfer:
    """Carry the source's vectors into each layer of the target, and choose the pair of layers to look at.

    Returns the vectors to steer with, controls included.
    """
    carried = {pair: route.carry(pair) for pair in product(source.vectors, target.vectors)}
    best = _steepest_layer(source), _steepest_layer(target)
    norms = {pair: float(np.linalg.norm(vector)) for pair, vector in carried.items()}
    vectors = [
        SteeringVector(NATIVE, None, layer, vector, float(np.linalg.norm(vector)))
        for layer, vector in target.vectors.items()
    ]
    vectors += [SteeringVector(CARRIED, *pair, vector, norms[pair]) for pair, vector in carried.items()]
    native = target.vectors[best[1]]
    vectors.append(
        SteeringVector(AT_NATIVE_NORM, *best, with_norm_of(carried[best], native), float(np.linalg.norm(native)))
    )
    controls = route.controls(best, carried[best])
    vectors += [SteeringVector(name, *best, vector, norms[best]) for name, vector in controls.items()]
    return VectorTransfer(source, target, route, vectors, best)


def _steepest_layer(native: NativeVectors) -> int:
    """Return the layer whose own vector moves the training prompts farthest towards their answer."""
    plan = [
        edits
        for layer, vector in native.vectors.items()
        for edits in native.edits(vector, layer, _PROBE_SCALES, training=True)
    ]
    readout = native.on_prompts.training.run(plan, "clean")
    moved: Float[Array, "layer scale"] = readout.logit_diff.mean(axis=1).reshape(-1, len(_PROBE_SCALES))
    return list(native.vectors)[int((moved[:, 1] - moved[:, 0]).argmax())]


def with_norm_of(vector: Vector, other: Vector) -> Vector:
    """Return a vector scaled to the norm of the other; a zero vector stays zero."""
    norm = float(np.linalg.norm(vector))
    scaled: Vector = vector * (float(np.linalg.norm(other)) / norm if norm else 0.0)
    return scaled


def cosine(one: Vector, other: Vector) -> float:
    """Return the cosine between two vectors; 0 if one of them is zero."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else 0.0
