"""The measurement of transfer: both models, maps between them, and what is transferred in each direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ioi_lab.alignment.align import largest_distance_from_identity
from ioi_lab.alignment.config import PairOfLayers, Stream
from ioi_lab.alignment.map_files import DIRECTIONS, Maps, save_maps
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.trained_maps import training_settings
from ioi_lab.alignment.training import TrainingSettings
from ioi_lab.engine.edits import OTHER_PASS
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.memory import MemoryGb
from ioi_lab.errors import called
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import SelfChecks, check_gap
from ioi_lab.interventions.transfer.head_measure import HeadSwapResult, measure_head_swap
from ioi_lab.interventions.transfer.head_options import HeadMapName, HeadOptions
from ioi_lab.interventions.transfer.map_source import MapSource
from ioi_lab.interventions.transfer.role_pairs import roles_of, shared_roles
from ioi_lab.interventions.transfer.vector_measure import VectorOptions, measure_vector_transfer
from ioi_lab.interventions.transfer.vector_result import VectorTransferResult
from ioi_lab.models.loading import LabModel, ModelConfig, load_model
from ioi_lab.steering.contrasts import ContrastName
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.head_maps import Head, HeadMaps, StreamMaps
from ioi_lab.transfer.heads import Role, swap_heads
from ioi_lab.transfer.shared_prompts import ModelOnPrompts, on_shared_prompts
from ioi_lab.transfer.unrelated import UnrelatedDirections, unrelated_directions
from ioi_lab.transfer.vectors import (
    NativeVectors,
    Route,
    ThroughMaps,
    ThroughVocabulary,
    VectorTransfer,
    transfer_vectors,
)

PartT = TypeVar("PartT")
DirectionResult = VectorTransferResult | HeadSwapResult


@dataclass(frozen=True)
class OtherMap:
    """The vectors of the best pair of layers through a map that was fitted on another corpus."""

    title: str
    """The kind of map and its corpus."""

    directions: dict[str, VectorTransferResult]
    """By the prefix of their metrics."""


@dataclass(frozen=True)
class TransferResult(Result):
    """The transfer from the source to the run's own model, and the other way round.

    The baselines are those of the run's own model on the held-out prompts; the self-checks are the worst of both
    directions.
    """

    forward: DirectionResult
    """The direction from the source to the run's own model."""

    backward: DirectionResult | None
    """The direction from the run's own model to the source; None if only one direction was asked for."""

    n_dropped_prompts: int
    """The number of prompts that are not used: their names are in both halves, or not single tokens in the source."""

    names_differ: bool
    """Whether the held-out prompts have other names than those that vectors are made from, or heads chosen on."""

    map_title: str | None
    """The kind of maps and their corpus, such as `ridge map fitted on tiny english`; None if there are none."""

    head_map: HeadMapName | None
    """What heads go through; None for vectors."""

    other_map: OtherMap | None
    """A map fitted on another corpus, to compare with; None if none was asked for."""

    new_maps_file: bytes | None
    """The file of newly fitted maps; None if there are none, or if they were read from a file."""

    is_one_model: bool
    """Whether source and target have the same weights."""

    largest_distance_from_identity: float | None
    """The largest distance over the maps between equal layers, in norms of the identity; None without such maps."""

    source_model: dict[str, str | None]
    """The provenance of the source."""

    @property
    def directions(self) -> dict[str, DirectionResult]:
        """The measured directions, by the prefix of their metrics."""
        backward = {} if self.backward is None else {"backward": self.backward}
        return {"forward": self.forward, **backward}


def measure_transfer(
    engine: Engine,
    *,
    source: ModelConfig,
    map_source: MapSource,
    other_map_source: MapSource | None,
    position: Position,
    vectors: VectorOptions | None,
    heads: HeadOptions,
    both: bool,
    seed: int,
) -> TransferResult:
    """Load the source, read or fit maps, and measure one or both directions.

    Args:
        engine: The engine of the run's own model, the target, on the task's prompts.
        source: The model to transfer from.
        map_source: The layers, and the file or the corpus of the maps.
        other_map_source: The corpus of a second map, which is compared with the first; None for no such map.
        position: The position of vectors and heads.
        vectors: How vectors are transferred; None to swap heads instead.
        heads: Which heads are swapped; their names are checked in any case.
        both: Whether to measure the direction from the target to the source too.
        seed: The seed of splits and controls.

    Raises:
        LabError: A position, layer, head or name does not exist; the models share too few prompts; a clean and a
            corrupted pass do not differ; or a self-check fails.

    """
    engine.prompts.check_position(position, "intervention.position")
    with called("model", "intervention.source"):
        models = load_model(source), engine.model
    with called("alignment", "intervention.alignment"):
        pairing = Pairing.of(map_source.alignment, models, engine.memory_gb)
    on_prompts = _on_prompts(engine, models, vectors, seed)
    check_gap(*(on_prompts[0].held_out.baseline(which) for which in OTHER_PASS))
    baselines = Baselines.measure(on_prompts[1].held_out)
    chosen = heads.chosen(pairing)
    needs_maps = heads.maps == "stream" if vectors is None else vectors.through == "maps"
    maps = map_source.maps(pairing, seed) if needs_maps else None
    roles = None
    if vectors is None and heads.pairs == "roles" and None in chosen:
        roles = tuple(roles_of(*each, seed) for each in zip(on_prompts, pairing.layers, strict=True))
    measured: list[tuple[DirectionResult, SelfChecks]] = []
    transfers: list[VectorTransfer] = []
    unrelated: list[list[UnrelatedDirections]] = []
    for turned in (False, True) if both else (False,):
        direction = _Direction(
            on_prompts=_ordered(on_prompts, turned),
            layers=_ordered(pairing.layers, turned),
            maps=maps.turned if maps is not None and turned else maps,
        )
        if vectors is None:
            shared = [] if roles is None else shared_roles(*_ordered((roles[0], roles[1]), turned))
            training = training_settings(map_source.alignment, seed)
            measured.append(_measure_heads(direction, heads, _ordered(chosen, turned), shared, position, training))
        else:
            transfers.append(_vector_transfer(direction, pairing.component, position, vectors, seed))
            r2 = None if direction.maps is None else direction.maps.r2[0]
            unrelated.append(_unrelated(transfers[-1], vectors))
            measured.append(measure_vector_transfer(transfers[-1], vectors, r2, unrelated[-1]))
    other_map: OtherMap | None = None
    other_checks: list[SelfChecks] = []
    if other_map_source is not None and maps is not None and vectors is not None:
        fitted = _maps_between(other_map_source, models, transfers[0].best, engine.memory_gb, seed)
        other_map, other_checks = _measure_other_map(fitted, transfers, unrelated, vectors)
    return TransferResult(
        baselines=baselines,
        checks=SelfChecks.worst([*(checks for _, checks in measured), *other_checks]),
        forward=measured[0][0],
        backward=measured[1][0] if both else None,
        n_dropped_prompts=on_prompts[1].contrast.n_dropped,
        names_differ=on_prompts[1].contrast.names_differ,
        map_title=maps.title if maps is not None else heads.title if vectors is None else None,
        head_map=heads.maps if vectors is None else None,
        other_map=other_map,
        new_maps_file=save_maps(maps, models) if maps is not None and map_source.file is None else None,
        is_one_model=models[0].weights_sha256 == models[1].weights_sha256,
        largest_distance_from_identity=None if maps is None else largest_distance_from_identity(maps.forward),
        source_model=models[0].provenance,
    )


@dataclass(frozen=True)
class _Direction:
    """Source and target of one direction, their mapped layers, and the maps between these."""

    on_prompts: tuple[ModelOnPrompts, ModelOnPrompts]
    layers: tuple[list[int], list[int]]
    maps: Maps[AffineMap] | None


def _ordered(both: tuple[PartT, PartT], turned: bool) -> tuple[PartT, PartT]:
    return both[::-1] if turned else both


def _on_prompts(
    engine: Engine, models: tuple[LabModel, LabModel], vectors: VectorOptions | None, seed: int
) -> tuple[ModelOnPrompts, ModelOnPrompts]:
    """Return both models on the prompts that they share."""
    contrast: ContrastName = "clean_corrupt" if vectors is None else vectors.contrast
    names = ("", "") if vectors is None else vectors.names
    return on_shared_prompts(models, engine.prompts, contrast, names, seed, engine.memory_gb, engine.seed)


def _measure_heads(
    direction: _Direction,
    options: HeadOptions,
    heads: tuple[Head | None, Head | None],
    roles: Sequence[Role],
    position: Position,
    training: TrainingSettings,
) -> tuple[HeadSwapResult, SelfChecks]:
    maps: HeadMaps
    if direction.maps is None:
        maps = options.maps_of_outputs(direction.on_prompts, direction.layers, position, training)
    else:
        maps = StreamMaps(direction.maps.forward, direction.maps.r2[0])
    swap = swap_heads(*direction.on_prompts, maps, direction.layers, heads, position, roles, options.n_idle)
    return measure_head_swap(swap)


def _vector_transfer(
    direction: _Direction, component: Stream, position: Position, options: VectorOptions, seed: int
) -> VectorTransfer:
    source, target = (
        NativeVectors.of(model, component, position, layers, options.method)
        for model, layers in zip(direction.on_prompts, direction.layers, strict=True)
    )
    route: Route
    if direction.maps is not None:
        route = ThroughMaps(source, direction.maps.forward, options.n_controls, seed)
    else:
        route = ThroughVocabulary.of(source, target, options.n_controls, seed, options.translation)
    return transfer_vectors(source, target, route)


def _unrelated(transfer: VectorTransfer, options: VectorOptions) -> list[UnrelatedDirections]:
    return unrelated_directions(transfer.source, transfer.best[0], options.n_unrelated, options.seed)


def _maps_between(
    map_source: MapSource, models: tuple[LabModel, LabModel], layers: PairOfLayers, memory_gb: MemoryGb, seed: int
) -> Maps[AffineMap]:
    """Return the maps between one layer of each model."""
    chosen = map_source.between(layers)
    return chosen.maps(Pairing.of(chosen.alignment, models, memory_gb), seed)


def _measure_other_map(
    maps: Maps[AffineMap],
    transfers: Sequence[VectorTransfer],
    unrelated: Sequence[list[UnrelatedDirections]],
    options: VectorOptions,
) -> tuple[OtherMap, list[SelfChecks]]:
    """Carry the vectors of the best pair of layers through other maps, in the directions that were measured."""
    results, all_checks = {}, []
    ways = zip(DIRECTIONS, transfers, unrelated, (maps, maps.turned), strict=False)
    for prefix, transfer, directions, turned in ways:
        again = transfer.through_other_maps(turned.forward, options.n_controls, options.seed)
        results[prefix], checks = measure_vector_transfer(again, options, turned.r2[0], directions)
        all_checks.append(checks)
    return OtherMap(maps.title, results), all_checks
