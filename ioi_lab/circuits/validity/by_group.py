"""Whether a circuit is equally faithful on all kinds of prompts: by sentence, and by the order of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Int

from ioi_lab.circuits.faithfulness import FAITHFUL
from ioi_lab.circuits.graph import Indices
from ioi_lab.circuits.validity.evaluation import LEVEL, MARGIN, Evaluation, Outcome
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import PromptPair

By = Literal["sentence", "order"]

_PERMUTATIONS: Final = 2000
_UNORDERED: Final = ("BOS", "END")
"""Labels that stand at the same end of every prompt."""


@dataclass(frozen=True)
class Grouping:
    """The faithfulness of a circuit on each group of prompts."""

    by: By
    names: list[str]
    n_prompts: list[int]
    faithfulness: Estimate
    """The faithfulness on each group; NaN if the whole model is not above the empty circuit on its prompts."""

    p_value: float
    """That groups of the same sizes, drawn at random, differ as much."""

    @property
    def outcome(self) -> Outcome:
        """Against the claim if groups differ beyond chance, by more than `MARGIN`.

        For it if they do not, and f is at least `FAITHFUL` in all: that no difference is shown says little by itself,
        since few prompts show none.
        """
        if self.p_value < LEVEL and np.nanmax(self.faithfulness.value) - np.nanmin(self.faithfulness.value) > MARGIN:
            return "fails"
        return "holds" if (self.faithfulness.value >= FAITHFUL).all() else "not shown"


def by_group(evaluation: Evaluation, circuit: Float[Array, "1 prompt"], seed: int) -> list[Grouping]:
    """Return the groupings of the prompts into more than one group, with the faithfulness of a circuit on each.

    Args:
        evaluation: Its prompts are grouped.
        circuit: The logit difference of each prompt with the circuit.
        seed: Draws random groups.

    """
    prompts = list(evaluation.runner.engine.prompts)
    marks: dict[By, list[str]] = {
        "sentence": [pair.group or "" for pair in prompts],
        "order": [order_of(pair) for pair in prompts],
    }
    return [_grouping(evaluation, circuit, by, each, seed) for by, each in marks.items() if len(set(each)) > 1]


def order_of(pair: PromptPair) -> str:
    """Return the labels of a prompt in their order: `IO S1 S2`, without those that are at the ends of every prompt."""
    own = [label for label in pair.labels if label not in _UNORDERED and "+" not in label]
    return " ".join(sorted(own, key=lambda label: pair.labels[label]))


def _grouping(
    evaluation: Evaluation, circuit: Float[Array, "1 prompt"], by: By, marks: Sequence[str], seed: int
) -> Grouping:
    names, index = np.unique(marks, return_inverse=True)
    gains, gap = circuit - evaluation.empty, evaluation.whole - evaluation.empty
    estimates = []
    for number in range(len(names)):
        rows = np.flatnonzero(index == number).tolist()
        estimate = evaluation.runner.engine.bootstrap.among(rows).ratio(gains[:, rows], gap[:, rows])
        unknown = np.full(1, np.nan)
        estimates.append(estimate if gap[0, rows].mean() > 0 else Estimate(unknown, unknown, unknown))
    residuals = (gains - gains.mean() / gap.mean() * gap)[0]
    return Grouping(
        by,
        names.tolist(),
        np.bincount(index).tolist(),
        Estimate.joined(estimates),
        _permutation_test(residuals, index, seed),
    )


def _permutation_test(residuals: Float[Array, "prompt"], index: Int[Indices, "prompt"], seed: int) -> float:
    """Return how often groups drawn at random differ as much: by the variance of the groups' mean residuals."""
    rng, sizes = np.random.default_rng(seed), np.bincount(index)
    members = np.eye(len(sizes))[index]

    def spread(values: Float[Array, "draw prompt"]) -> Float[Array, "draw"]:
        return np.asarray(((values @ members) ** 2 / sizes).sum(axis=1))

    drawn = rng.permuted(np.tile(residuals, (_PERMUTATIONS, 1)), axis=1)
    observed = spread(residuals[None])[0]
    return float((1 + (spread(drawn) >= observed * (1 - 1e-9)).sum()) / (1 + _PERMUTATIONS))
