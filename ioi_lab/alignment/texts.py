"""The texts of an alignment's report: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.alignment.layer_pairs import RULES
from ioi_lab.reports.definitions import Method
from ioi_lab.reports.wording import interval
from ioi_lab.stats.discoveries import adjusted

if TYPE_CHECKING:
    from ioi_lab.alignment.measure import AlignmentDirection, AlignmentResult
    from ioi_lab.reports.report import Report

_LEVEL: Final = 0.05
_MAPS: Final = Method(
    "Maps between models",
    "For each pair of layers, an affine map from one model's residual stream to the other's, fitted at positions where "
    "both models' tokens end at the same character. It is measured on texts that it was not fitted on.",
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
    limits.append(
        "That a map explains the variance does not show that what it carries is used: see intervention=transfer."
    )
    limits += [f"Low precision: {name}." for name in low_precision]
    controls = (
        "Held-out R² by the layer that is mapped to, from the best layer of the other model: of the map, and of its "
        "controls. A map says something about single texts where it lies above both. Bands are 95 % intervals "
        "over texts."
    )
    return replace(
        report,
        question=(
            f"How well does a {result.map_title} carry {result.component} of {forward.source} to {forward.target}, and "
            "back?"
        ),
        answer=[*(_best(direction) for direction in result.directions.values()), *_similarity(result)],
        captions={
            "r2_by_layers": (
                "Each cell is a pair of layers: the source's layers upwards, the target's to the right. The "
                "panels are the held-out R² of the maps in both directions, linear CKA on all positions, and debiased "
                "CKA on one position per text. Blue is above 0, red below; pairs without a map are blank."
            ),
            "controls_forward": controls,
            "controls_backward": controls,
        },
        methods=[_MAPS, _R2, _CKA, _DEBIASED, _CONTROLS],
        limits=limits,
    )


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
