"""The measurement of head roles, in three steps: scores without edits, scores by the name movers, their ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.head_roles.name_movers import (
    NameMoverAblation,
    ablate_name_movers,
    change_of_direct_effects,
    control_sets,
    query_effects,
)
from ioi_lab.lenses.direct import DirectEffects, direct_effects
from ioi_lab.lenses.head_scores import SHARES, unedited_scores
from ioi_lab.lenses.roles import NAME_MOVER, ROLES, S_INHIBITION, WRITING_ROLES, Head, Thresholds, heads_in_role
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.tasks.prompts import PromptPairs

STRONG: Final = 0.05
"""A head without a role is strong if its direct effect is at least this share of the logit difference."""

LABELS: Final = ("IO", "S1", "S1+1", "S2")
"""The labels between which attention is measured."""

MIN_PROMPTS: Final = 2
"""Ablation takes the output of another prompt."""

Scores = dict[str, Float[Array, "layer head sample"]]
"""A sample is a prompt, or the only one of a score that is not measured prompt by prompt."""


@dataclass(frozen=True)
class HeadRolesResult(Result):
    """The scores and the roles of all heads, and the name movers' ablation."""

    heads: list[Head]
    """All heads of the model, by layer: the rows of the scores' estimates."""

    scores: dict[str, Estimate]
    """Each score, with a row per head: NaN for heads without it, and without bounds if it is not over prompts."""

    roles: dict[str, list[Head]]
    """The heads of each role, in the order of `ROLES`."""

    strong_without_role: list[Head]
    """The heads without a role whose direct effect is `STRONG` or more, largest first."""

    ablation: NameMoverAblation | None
    """None without name movers."""

    def score(self, name: str, head: Head) -> float:
        """Return one score of a head."""
        return float(self.scores[name].value[self.heads.index(head)])

    def roles_of(self, head: Head) -> list[str]:
        """Return the roles of a head."""
        return [role for role, heads in self.roles.items() if head in heads]

    @property
    def paths_into_queries(self) -> list[tuple[Head, Head]]:
        """The S-inhibition heads with each name mover of a later layer."""
        pairs = product(self.roles[S_INHIBITION], self.roles[NAME_MOVER])
        return [(sender, mover) for sender, mover in pairs if sender[0] < mover[0]]

    @property
    def writers(self) -> list[Head]:
        """The heads with a role that writes into the logits, each once."""
        return list(dict.fromkeys(head for role in WRITING_ROLES for head in self.roles[role]))


def measure_head_roles(
    engine: Engine, thresholds: Thresholds, n_sequences: int, n_controls: int, seed: int
) -> HeadRolesResult:
    """Score all heads, assign the roles, and ablate the name movers.

    Args:
        engine: The engine, on prompts with the labels of `task=ioi`.
        thresholds: The least scores for each role.
        n_sequences: The number of sequences of repeated random tokens.
        n_controls: The number of random sets of heads of each kind that the name movers are compared with.
        seed: Draws the sequences, the other prompt of each prompt, and the random sets.

    Raises:
        LabError: The prompts have no labels, or there is only one; the direct effects do not add up to the logit
            difference; or a self-check fails.

    """
    _check_prompts(engine.prompts)
    baselines = Baselines.measure(engine)
    direct = direct_effects(engine, "clean")
    scores = unedited_scores(engine, direct, n_sequences, seed)
    movers = heads_in_role(NAME_MOVER, _means(scores), thresholds)
    scores |= _name_mover_scores(engine, movers, scores, direct, thresholds.end, seed)
    means = _means(scores)
    roles = {role: heads_in_role(role, means, thresholds) for role in ROLES}
    controls = control_sets(movers, roles, engine.shape.n_heads, n_controls, seed)
    ablation, checks = ablate_name_movers(engine, movers, controls, seed)
    return HeadRolesResult(
        baselines=baselines,
        checks=checks,
        heads=list(product(range(engine.shape.n_layers), range(engine.shape.n_heads))),
        scores={name: _estimate(values, engine.bootstrap, is_share=name in SHARES) for name, values in scores.items()},
        roles=roles,
        strong_without_role=_strong_without_role(means["direct_logit_diff"], roles),
        ablation=ablation,
    )


def _check_prompts(prompts: PromptPairs) -> None:
    for label in LABELS:
        if label not in prompts.labels():
            raise LabError(f"task: head_roles needs prompts with the label {label}, as those of task=ioi have")
    if len(prompts) < MIN_PROMPTS:
        raise LabError("task: head_roles puts one prompt's names into another; got 1 prompt, expected 2 or more")


def _name_mover_scores(
    engine: Engine, movers: Sequence[Head], scores: Scores, direct: DirectEffects, attends_at: float, seed: int
) -> Scores:
    """Return the scores that need name movers; all NaN if there are none.

    `query_effect` is measured for heads that attend from END to S2, by `attends_at` or more, and come before a mover.
    """
    attention = scores["end_to_s2"]
    if not movers:
        unknown = np.full((*attention.shape[:2], 1), np.nan)
        return {"query_effect": unknown, "ablation_change": unknown}
    last = max(layer for layer, _ in movers)
    attending = np.argwhere(attention.mean(axis=-1) >= attends_at)
    senders = [(int(layer), int(head)) for layer, head in attending if layer < last]
    effects = np.full(attention.shape, np.nan)
    for sender, effect in query_effects(engine, senders, movers).items():
        effects[sender] = effect
    return {"query_effect": effects, "ablation_change": change_of_direct_effects(engine, movers, direct, seed)}


def _means(scores: Scores) -> dict[str, Float[Array, "layer head"]]:
    return {name: values.mean(axis=-1) for name, values in scores.items()}


def _estimate(values: Float[Array, "layer head sample"], bootstrap: Bootstrap, *, is_share: bool) -> Estimate:
    """Return the means, with bounds if the samples are prompts: a row per head."""
    rows = values.reshape(-1, values.shape[-1])
    if rows.shape[1] < MIN_PROMPTS:
        unknown = np.full(len(rows), np.nan)
        return Estimate(rows[:, 0], unknown, unknown)
    known = np.isfinite(rows[:, 0])  # a head's score was measured on all prompts or on none
    measured = np.where(known[:, None], rows, 0.0)
    estimate = bootstrap.share(measured) if is_share else bootstrap.mean(measured)
    return Estimate(*(np.where(known, part, np.nan) for part in vars(estimate).values()))


def _strong_without_role(shares: Float[Array, "layer head"], roles: Mapping[str, Sequence[Head]]) -> list[Head]:
    with_role = {head for heads in roles.values() for head in heads}
    strong = [(int(layer), int(head)) for layer, head in np.argwhere(np.abs(shares) >= STRONG)]
    return [head for head in sorted(strong, key=lambda head: -abs(shares[head])) if head not in with_role]
