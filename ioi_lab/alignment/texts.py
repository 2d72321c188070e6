"""The texts of an alignment's report: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.alignment.layer_pairs import RULES
from ioi_lab.reports.definitions import Method
from ioi_lab.reports.report import precision_limits
from ioi_lab.reports.wording import interval
from ioi_lab.stats.discoveries import adjusted

if TYPE_CHECKING:
    from ioi_lab.alignment.measure import AlignmentDirection, AlignmentResult
    from ioi_lab.reports.report import Report

_LEVEL: Final = 0.05
_MAPS: Final = Method(
    "Maps between models",
    "For a pair of layers, a map from one model's residual stream to the other's, affine unless its name says "
    "otherwise, fitted at positions where both models' tokens end at the same character. It is measured on texts that "
    "it was not fitted on.",
    "arXiv 2506.00653; arXiv 2506.06609",
)
_R2: Final = Method(
    "Held-out R²",
    "The share of the variance of the target's activations that the map explains on held-out texts: 1 is perfect, 0 as "
    "good as the mean activation, and below 0 worse than it.",
)
_CKA: Final = Method(
    "Linear CKA",
    "The similarity of the two models' activations up to rotation and scale, without a map: 0 to 1.",
    "Kornblith et al. 2019, arXiv 1905.00414",
)
_DEBIASED: Final = Method(
    "Debiased CKA",
    "CKA with the unbiased estimator of HSIC, so that it is about 0 for unrelated activations, whatever the number of "
    "dimensions; it can be below 0. It is computed on one position of each of at most 500 texts, with an interval by a "
    "jackknife over texts. Its permutation null pairs the texts of the two models at random, 500 times. The plain CKA "
    "of such random pairs is the chance level of plain CKA.",
    "Song et al. 2012; Nguyen et al. 2021, arXiv 2010.15327; Murphy et al. 2024, arXiv 2405.01012",
)
_STITCHING: Final = Method(
    "Stitched model",
    "The model that is mapped to runs on held-out texts with mapped activations of the other model in the place of its "
    "own, at all positions that both share; it keeps its own at the others. It is compared with itself: the KL from "
    "its own next-token distribution at these positions, how often the likeliest next token stays the same, and the "
    "next-token loss. Mean ablation replaces the same activations by their mean.",
    "Bansal et al. 2021, arXiv 2106.07682; Chen et al. 2025, arXiv 2506.06609",
)
_TRAINED: Final = {
    "stitching": Method(
        "Affine map trained by stitching",
        "From the ridge map on, the map is trained by AdamW to lower the KL from the model's own next-token "
        "distribution to that of the stitched model. The texts of one fold show when to stop, and the map with the "
        "lowest loss on them is kept, be it the ridge map. Its control on shuffled pairs is a ridge map.",
        "Bansal et al. 2021, arXiv 2106.07682; Chen et al. 2025, arXiv 2506.06609",
    ),
    "activations": Method(
        "Map with a hidden layer",
        "A network with one hidden layer and relu, trained by AdamW on the mean squared error of activations, which "
        "stops like the maps that are trained by stitching. Its control on shuffled pairs is a ridge map. A direction "
        "has no image by itself under such a map.",
        "Oozeer et al. 2025, arXiv 2503.04429",
    ),
}
_CONTROLS: Final = Method(
    "Controls of maps",
    "The mean shift moves the source's mean to the target's and does nothing else; shuffled pairs is the same "
    "kind of map fitted to positions that do not belong together.",
)


def with_texts(report: Report, result: AlignmentResult, low_precision: Sequence[str]) -> Report:
    """Return the report with its texts."""
    forward = result.forward
    limits = ["The best pair of layers is chosen on the texts that its R² is reported on."]
    if result.is_underdetermined:
        limits.append(
            f"The maps, with {result.n_parameters:,} parameters each, were fitted on {result.n_positions:,} positions, "
            f"which are {result.positions_per_dimension:.1f} per dimension."
        )
    if result.layer_rule != "all":
        limits.append(f"The pairs of layers that have maps are chosen by a rule: {RULES[result.layer_rule]}.")
    if result.is_one_model:
        limits.append("Source and target are the same model, so this is a check of the method.")
    if result.n_stitched_texts:
        limits.append(
            "A stitched model keeps its own activations at positions that are not shared, so that something of what a "
            "map loses may come back from there."
        )
    limits.append(
        "That a map explains the variance does not show that what it carries is used: see intervention=transfer."
    )
    limits += precision_limits(low_precision)
    drawn = (
        "by the layer that is mapped to, from the best layer of the other model"
        if result.layer_rule == "all"
        else "by pair of layers"
    )
    controls = (
        f"Held-out R² {drawn}: of the map, and of its controls. A map says something about single texts where it lies "
        "above both. Bands are 95 % intervals over texts."
    )
    return replace(
        report,
        question=(
            f"How well does the {result.map_title} carry {result.component} of {forward.source} to {forward.target}, "
            "and back?"
        ),
        answer=[
            *(_best(direction) for direction in result.directions.values()),
            *_similarity(result),
            *_stitched(result),
        ],
        captions={
            "r2_by_layers": (
                "Each cell is a pair of layers: the source's layers upwards, the target's to the right. The "
                "panels are the held-out R² of the maps in both directions, linear CKA on all positions, and debiased "
                "CKA on one position per text. Blue is above 0, red below; pairs without a map are blank."
            ),
            "controls_forward": controls,
            "controls_backward": controls,
            **_further_captions(result),
        },
        methods=_methods(result),
        limits=limits,
    )


def _methods(result: AlignmentResult) -> list[Method]:
    stitching = [_STITCHING] if result.n_stitched_texts else []
    trained = [] if result.training is None else [_TRAINED[result.training]]
    return [_MAPS, *trained, _R2, _CKA, _DEBIASED, *stitching, _CONTROLS]


def _further_captions(result: AlignmentResult) -> dict[str, str]:
    captions = {}
    for name, direction in result.directions.items():
        if result.n_stitched_texts:
            captions[f"stitched_{name}"] = (
                f"{direction.target} with mapped activations of {direction.source} in the place of its own, by pair of "
                "layers, next to mean ablation of the same positions: the KL from its own next-token distribution, the "
                "share of positions with the same likeliest next token, and the next-token loss, with its own. Bands "
                "are 95 % intervals over texts."
            )
        if result.training is not None:
            captions[f"training_{name}"] = (
                "The loss of each map, a line per pair of layers, by the number of steps: on the left on texts that "
                "are not trained on, which show when to stop, on the right on some of those that are. The map with the "
                "lowest loss on the left is kept."
            )
    return captions


def _stitched(result: AlignmentResult) -> list[str]:
    """Return a sentence per direction on the stitched model of its best pair of layers; none if it was not measured."""
    if result.replaced_shares is None:
        return []
    return [
        f"With {direction.source}'s mapped activations in {100 * share:.0f} % of its positions (layers {pair[0]} → "
        f"{pair[1]}), {direction.target} has a KL of {interval(estimates['stitched_kl'], best, '.3f')} from its own "
        f"predictions, against {interval(estimates['mean_ablated_kl'], best, '.3f')} with the mean there; it recovers "
        f"{interval(estimates['loss_recovered'], best, '.2f')} of the loss that mean ablation adds."
        for direction, share in zip(result.directions.values(), result.replaced_shares, strict=True)
        for estimates, best, pair in ((direction.estimates, direction.best, direction.pairs[direction.best]),)
    ]


def _similarity(result: AlignmentResult) -> list[str]:
    """Return the sentence on debiased CKA; none if there are too few texts."""
    similar, best = result.forward.similarities, result.forward.best
    if not np.isfinite(similar["debiased"][best]):
        return []
    from_layer, to_layer = result.forward.pairs[best]
    n_above = int((adjusted(similar["p_value"]) < _LEVEL).sum())
    return [
        f"Without a map, on {result.n_similar_rows} texts, the debiased CKA of layers {from_layer} and {to_layer} is "
        f"{similar['debiased'][best]:.3f} [{similar['low'][best]:.3f}, {similar['high'][best]:.3f}], and 97.5 % of "
        f"random pairings stay below {similar['null_high'][best]:.3f}; the plain CKA is {similar['plain'][best]:.3f}, "
        f"and {similar['plain_by_chance'][best]:.3f} by chance. {n_above} of {len(result.forward.pairs)} pairs of "
        "layers are more similar than chance at 5 %, corrected for their number."
    ]


def _best(direction: AlignmentDirection) -> str:
    from_layer, to_layer = direction.pairs[direction.best]
    return (
        f"{direction.name}: the best pair of layers, {from_layer} → {to_layer}, has a held-out R² of "
        f"{interval(direction.estimates['r2'], direction.best, '.3f')}; the mean over {len(direction.pairs)} pairs is "
        f"{direction.mean_r2:.3f}, and maps fitted to shuffled pairs reach at most {direction.highest_r2_shuffled:.3f}."
    )
