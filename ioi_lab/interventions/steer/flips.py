"""Flips: prompts that prefer the other of answer and distractor than without steering; and the strongest scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.interventions.baselines import estimates_of
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

AnswerSide = Literal["positive", "negative"]
"""The side of the contrast on which a prompt's answer lies."""


def flips(readout: Readout, clean: Readout) -> Float[Array, "edit_set prompt"]:
    """Return 1 for each prompt that prefers the other of answer and distractor than in the clean pass, else 0."""
    flipped: Array = np.abs(readout.correct - clean.correct)
    return flipped


def estimates_with_flips(engine: Engine, readout: Readout) -> dict[str, Estimate]:
    """Return each metric of `results.csv` with its interval, and `flipped`, the share of prompts that flip."""
    flipped = flips(readout, engine.baseline("clean"))
    return estimates_of(engine, readout) | {"flipped": engine.bootstrap.share(flipped)}


def pushes_away(scales: Sequence[float], slope: float, clean_mean: float) -> Bool[NDArray[np.bool_], "scale"]:
    """Return, for each scale, whether it pushes prompts away from what they prefer on average.

    Args:
        scales: The scales.
        slope: The slope of the logit difference per unit of scale.
        clean_mean: The mean logit difference without steering.

    """
    away: NDArray[np.bool_] = np.array(scales) * slope * clean_mean < 0
    return away


def strongest_scale(
    scales: Sequence[float],
    logit_diff: Float[Array, "scale"],
    flipped: Float[Array, "scale"],
    away: Bool[NDArray[np.bool_], "scale"],
    clean_mean: float,
) -> int:
    """Return the index of the scale that steers most, of those that push prompts `away` from what they prefer.

    It is the scale with the largest share of prompts that flip, and of equal shares the one nearest to 0; if no prompt
    flips at any scale, the one that moves the mean logit difference most.
    """
    tie_break = -np.abs(np.array(scales)) if flipped.any() else np.abs(logit_diff - clean_mean)
    return int(np.lexsort((tie_break, flipped, away))[-1])


def flipped_by_side(flipped: Float[Array, "prompt"], signs: Sequence[int]) -> Mapping[AnswerSide, float]:
    """Return the share of prompts that flip by the side of their answer, without sides that have no prompts.

    Args:
        flipped: 1 for each prompt that flips, else 0.
        signs: For each prompt, 1 if its answer lies on the positive side and −1 if it lies on the negative side.

    """
    of_side: dict[AnswerSide, int] = {"positive": 1, "negative": -1}
    chosen = {side: np.array(signs) == sign for side, sign in of_side.items()}
    return {side: float(flipped[prompts].mean()) for side, prompts in chosen.items() if prompts.any()}
