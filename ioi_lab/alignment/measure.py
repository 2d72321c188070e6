"""The numbers of an alignment: how well each map does on held-out texts, next to its controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from ioi_lab.alignment.agreement import Agreement, agreement_estimates
from ioi_lab.alignment.align import Alignment, Stitching, largest_distance_from_identity
from ioi_lab.alignment.config import AlignmentConfig, LayerRule, PairOfLayers
from ioi_lab.alignment.fitting import Errors, Fit
from ioi_lab.alignment.maps import MAP_METHODS, Training
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.similarity import Similarities, similarities
from ioi_lab.alignment.training import LossCurve
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.metrics import Array

MIN_POSITIONS_PER_DIMENSION: Final = 10
"""With fewer positions per dimension, a run warns that the corpus is small for its maps."""


@dataclass(frozen=True)
class AlignmentDirection:
    """The maps from one model to the other, one row per pair of layers. The intervals are over held-out texts."""

    source: str
    target: str
    pairs: list[PairOfLayers]
    estimates: dict[str, Estimate]
    """`r2`, `cosine`, and the errors and the R² of controls, on held-out texts."""

    penalties: list[float | None]
    """The ridge penalty of each map in mean variances of x; None for methods that are not penalized."""

    cka: Float[Array, "pair"]
    """The linear CKA of each pair of layers, on the positions that maps are fitted to."""

    similarities: Mapping[str, Float[Array, "pair"]]
    """The similarities of a sample of one position per text: the fields of `Similarities`."""

    curves: list[LossCurve | None]
    """The losses during the training of each map; None for closed forms."""

    ranking: list[int]
    """The rows, from the largest R² to the smallest."""

    drawn_rows: list[int]
    """The rows of the maps from the same layer as the best one; all of them if a rule has chosen the layers."""

    mean_r2: float
    highest_r2_shuffled: float
    """The highest R² of a map that is fitted to shuffled pairs."""

    @property
    def name(self) -> str:
        """The direction in figures, such as `tiny-gpt2 → tiny-pythia`."""
        return f"{self.source} → {self.target}"

    @property
    def best(self) -> int:
        """The row with the largest R²."""
        return self.ranking[0]


@dataclass(frozen=True)
class AlignmentResult:
    """Every number of an alignment that is reported."""

    forward: AlignmentDirection
    backward: AlignmentDirection
    layers: tuple[list[int], list[int]]
    """The layers of the source and of the target that are mapped."""

    component: str
    method: str
    map_title: str
    """The kind of map, such as `ridge map`."""

    corpus: str
    n_positions: int
    n_texts: int
    n_held_out: int
    n_held_out_texts: int
    n_maps: int
    n_parameters: int
    """The number of parameters of the largest map."""

    is_underdetermined: bool
    """Whether there are fewer than `MIN_POSITIONS_PER_DIMENSION` positions per dimension."""

    positions_per_dimension: float
    """The number of positions per parameter of one output of a map: those of an affine map are d_x + 1."""

    layer_rule: LayerRule
    training: Training
    """What the maps were trained on; None for closed forms."""

    n_stitched_texts: int
    """The number of held-out texts on which the models ran with mapped activations."""

    replaced_shares: tuple[float, float] | None
    """The share of the positions that were replaced in the target and in the source; None if this was not measured."""

    n_similar_rows: int
    """The number of texts on which debiased CKA is computed, one position of each."""

    is_one_model: bool
    """Whether source and target have the same weights."""

    largest_distance_from_identity: float | None
    """The largest distance over the maps between equal layers, in norms of the identity; None without such maps."""

    @property
    def directions(self) -> dict[str, AlignmentDirection]:
        """The maps of each direction, by the prefix of the names of its metrics."""
        return {"forward": self.forward, "backward": self.backward}


def measure_alignment(
    alignment: Alignment,
    stitching: Stitching | None,
    pairing: Pairing,
    config: AlignmentConfig,
    corpus: str,
    seed: int,
) -> AlignmentResult:
    """Return the numbers of an alignment.

    Args:
        alignment: The fitted maps and their errors.
        stitching: The behaviour of the stitched models; None if it was not measured.
        pairing: The models and their layers.
        config: The settings.
        corpus: The title of the corpus that the maps were fitted on.
        seed: The seed of the bootstrap.

    """
    similar, rule = similarities(*alignment.sample.rows, seed), config.layers
    groups = len(next(iter(alignment.forward_errors.values())).total)
    bootstrap = Bootstrap(groups, seed)
    behaviour = (None, None) if stitching is None else (stitching.forward, stitching.backward)
    names = pairing.names
    first, second = pairing.models
    distance = largest_distance_from_identity({pair: fit.map for pair, fit in alignment.forward.items()})
    of_pairs = _of_pairs(similar, pairing.layers, alignment.forward)
    backward_order = _order(alignment.forward, alignment.backward)
    turned = {name: values[backward_order] for name, values in of_pairs.items()}
    return AlignmentResult(
        forward=_direction(names, alignment.forward, alignment.forward_errors, of_pairs, bootstrap, rule, behaviour[0]),
        backward=_direction(
            names[::-1], alignment.backward, alignment.backward_errors, turned, bootstrap, rule, behaviour[1]
        ),
        layers=pairing.layers,
        component=config.component,
        method=config.method,
        map_title=config.title,
        corpus=corpus,
        n_positions=alignment.n_positions,
        n_texts=alignment.n_texts,
        n_held_out=alignment.n_held_out,
        n_held_out_texts=alignment.n_held_out_texts,
        n_maps=len(alignment.forward) + len(alignment.backward),
        n_parameters=alignment.n_parameters,
        is_underdetermined=alignment.positions_per_dimension < MIN_POSITIONS_PER_DIMENSION,
        positions_per_dimension=alignment.positions_per_dimension,
        layer_rule=rule,
        n_similar_rows=similar.n_rows,
        training=MAP_METHODS[config.method].training,
        n_stitched_texts=0 if stitching is None else stitching.n_texts,
        replaced_shares=None if stitching is None else stitching.shares,
        is_one_model=first.weights_sha256 == second.weights_sha256,
        largest_distance_from_identity=distance,
    )


def _of_pairs(
    similar: Similarities, layers: tuple[list[int], list[int]], pairs: Iterable[PairOfLayers]
) -> dict[str, Float[Array, "pair"]]:
    """Return the similarities of pairs of layers by their names."""
    places = [(layers[0].index(source), layers[1].index(target)) for source, target in pairs]
    rows, columns = (list(each) for each in zip(*places, strict=True))
    return {name: values[rows, columns] for name, values in vars(similar).items() if name != "n_rows"}


def _order(forward: Iterable[PairOfLayers], backward: Iterable[PairOfLayers]) -> list[int]:
    """Return the places of the backward pairs among the forward ones."""
    places = {pair[::-1]: place for place, pair in enumerate(forward)}
    return [places[pair] for pair in backward]


def _direction(
    names: tuple[str, str],
    fits: Mapping[PairOfLayers, Fit],
    errors: Mapping[PairOfLayers, Errors],
    similar: Mapping[str, Float[Array, "pair"]],
    bootstrap: Bootstrap,
    rule: LayerRule,
    stitched: Mapping[PairOfLayers, Agreement] | None,
) -> AlignmentDirection:
    pairs = list(fits)
    estimates = _estimates(list(errors.values()), bootstrap)
    if stitched is not None:
        estimates |= agreement_estimates([stitched[pair] for pair in pairs], bootstrap)
    ranking = np.argsort(-estimates["r2"].value, kind="stable").tolist()
    best_layer = pairs[ranking[0]][0]
    return AlignmentDirection(
        source=names[0],
        target=names[1],
        pairs=pairs,
        estimates=estimates,
        penalties=[fit.penalty for fit in fits.values()],
        cka=np.array([fit.cka for fit in fits.values()]),
        similarities=similar,
        curves=[fit.curve for fit in fits.values()],
        ranking=ranking,
        drawn_rows=[row for row, (layer, _) in enumerate(pairs) if rule != "all" or layer == best_layer],
        mean_r2=float(estimates["r2"].value.mean()),
        highest_r2_shuffled=float(estimates["r2_shuffled"].value.max()),
    )


def _estimates(errors: list[Errors], bootstrap: Bootstrap) -> dict[str, Estimate]:
    def stacked(name: str) -> Array:
        return np.stack([getattr(each, name) for each in errors])

    total, ratio = stacked("total"), bootstrap.ratio
    return {
        "r2": ratio(total - stacked("map"), total),
        "cosine": ratio(stacked("cosine"), stacked("count")),
        "error_to_mean": ratio(stacked("map"), stacked("mean")),
        "error_to_shuffled": ratio(stacked("map"), stacked("shuffled")),
        "r2_mean_shift": ratio(total - stacked("mean_shift"), total),
        "r2_shuffled": ratio(total - stacked("shuffled"), total),
    }
