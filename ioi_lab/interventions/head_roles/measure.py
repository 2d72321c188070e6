"""The measurement of head roles, in three steps: scores without edits, scores by the name movers, their knockout."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.circuits.knockout import Knockout
from ioi_lab.engine.edits import EditSet
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.head_roles.name_movers import (
    MIN_CONTROLS,
    NameMoverAblation,
    QueryControl,
    at_end,
    control_heads,
    control_sets,
    direct_effects_without,
    knock_out_name_movers,
    query_effects,
)
from ioi_lab.lenses.direct import DirectEffects, cap_note, direct_effects
from ioi_lab.lenses.head_scores import SHARES, unedited_scores
from ioi_lab.lenses.roles import (
    NAME_MOVER,
    ORDERS,
    ROLES,
    S_INHIBITION,
    WRITING_ROLES,
    Head,
    Thresholds,
    heads_in_role,
    prompts_by_order,
)
from ioi_lab.models.shape import HEAD_COMPONENTS
from ioi_lab.stats.bootstrap import MIN_PROMPTS, Bootstrap, Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.ioi import Order

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.tasks.prompts import PromptPairs

log = logging.getLogger(__name__)

STRONG: Final = 0.05
"""A head without a role is strong if its direct effect is, with its interval, above this share of the difference."""

LABELS: Final = ("IO", "S1", "S1+1", "S2")
"""The labels between which attention is measured."""

ALL: Final = "all"
"""The key of the scores over the prompts of both orders."""

Scores = dict[str, Float[Array, "layer head sample"]]
"""A sample is a prompt or, for scores on random tokens, a sequence."""


@dataclass(frozen=True)
class HeadRolesResult(Result):
    """The scores and the roles of all heads, and the name movers' knockout."""

    heads: list[Head]
    """All heads of the model, by layer: the rows of the scores' estimates."""

    scores: dict[str, dict[str, Estimate]]
    """Each score by order of the names (`ALL`, `abba`, `baba`), with a row per head: NaN for heads without it."""

    roles: dict[str, list[Head]]
    """The heads of each role, in the order of `ROLES`."""

    strong_without_role: list[Head]
    """The heads without a role whose direct effect is `STRONG` or more, largest first."""

    query_control: QueryControl | None
    """Random heads that S-inhibition heads are compared with; None without name movers."""

    ablation: NameMoverAblation | None
    """None without name movers."""

    def score(self, name: str, head: Head, order: str = ALL) -> float:
        """Return one score of a head."""
        return float(self.scores[order][name].value[self.heads.index(head)])

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
    engine: Engine, thresholds: Thresholds, n_sequences: int, n_controls: int, knockout: Knockout, seed: int
) -> HeadRolesResult:
    """Score all heads, assign the roles, and knock out the name movers.

    Args:
        engine: The engine, on prompts of `task=ioi` in both orders of the names.
        thresholds: What the scores must exceed for each role.
        n_sequences: The number of sequences of repeated random tokens.
        n_controls: The number of random heads that S-inhibition heads are compared with, and of random sets of heads of
            each kind that the name movers are compared with.
        knockout: Knocks out heads of the engine's model.
        seed: Draws the sequences and the random heads.

    Raises:
        LabError: The prompts have no labels, or there are too few of one order; the direct effects do not add up to the
            logit difference; or a self-check fails.

    """
    for component in sorted(HEAD_COMPONENTS):
        engine.shape.check_every_layer(component, "assigning roles to heads")
    by_order = _checked_orders(engine.prompts, engine.bootstrap)
    baselines = Baselines.measure(engine)
    heads = list(product(range(engine.shape.n_layers), range(engine.shape.n_heads)))
    direct = direct_effects(engine, "clean")
    if direct.logit_cap is not None:
        log.warning("%s", cap_note(engine.shape.name, direct.logit_cap))
    scores = unedited_scores(engine, direct, n_sequences, seed)
    in_orders = {order: _estimates(scores, engine.bootstrap, prompts) for order, prompts in by_order.items()}
    movers = heads_in_role(NAME_MOVER, in_orders, thresholds, heads)
    query_scores, query_control = _query_scores(engine, movers, scores, thresholds, n_controls, seed)
    by_movers = query_scores | _backup_scores(engine, knockout.of(at_end(movers)), scores, direct)
    for order, prompts in by_order.items():
        in_orders[order] |= _estimates(by_movers, engine.bootstrap, prompts)
    bounds = thresholds.model_copy(update={"queries": _query_bound(query_control, thresholds)})
    roles = {role: heads_in_role(role, in_orders, bounds, heads) for role in ROLES}
    controls = control_sets(movers, roles, engine.shape.n_heads, n_controls, seed)
    ablation, checks = knock_out_name_movers(engine, movers, controls, knockout)
    everywhere = _estimates(scores | by_movers, engine.bootstrap, range(len(engine.prompts)))
    return HeadRolesResult(
        baselines=baselines,
        checks=checks,
        heads=heads,
        scores={ALL: everywhere} | {str(order): scores_of for order, scores_of in in_orders.items()},
        roles=roles,
        strong_without_role=_strong_without_role(everywhere["direct_logit_diff"], heads, roles),
        query_control=query_control,
        ablation=ablation,
    )


def _checked_orders(prompts: PromptPairs, bootstrap: Bootstrap) -> dict[Order, list[int]]:
    """Return the prompts of either order; raises a `LabError` for too few of them (or of their sentences)."""
    for label in LABELS:
        if label not in prompts.labels():
            raise LabError(f"task: head_roles needs prompts with the label {label}, as those of task=ioi have")
    by_order = prompts_by_order(prompts)
    for order in ORDERS:
        n_units = bootstrap.among(by_order[order]).n_units if by_order[order] else 0
        if n_units < MIN_PROMPTS:
            raise LabError(
                f"task.n: roles are tested in either order of the names, with intervals; got {n_units} prompts (or "
                f"sentences, by stats.over) in {order} order, expected {MIN_PROMPTS} or more, as with "
                f"task.order=mixed task.n={2 * MIN_PROMPTS}"
            )
    return by_order


def _query_scores(
    engine: Engine, movers: Sequence[Head], scores: Scores, thresholds: Thresholds, n_controls: int, seed: int
) -> tuple[Scores, QueryControl | None]:
    """Return the effects of paths into the name movers' queries: all NaN without name movers.

    They are measured for heads that attend from END to S2 and come before a mover, and for random other heads.
    """
    attention = scores["end_to_s2"]
    effects = np.full(attention.shape, np.nan)
    if not movers:
        return {"query_effect": effects}, None
    last = max(layer for layer, _ in movers)
    attending = np.argwhere(attention.mean(axis=-1) >= thresholds.end)
    candidates = [(int(layer), int(head)) for layer, head in attending if layer < last]
    drawn = control_heads(candidates, movers, engine.shape.n_heads, n_controls, seed)
    measured = query_effects(engine, [*candidates, *drawn], movers)
    for sender, effect in measured.items():
        effects[sender] = effect
    largest = max(measured[head].mean() for head in drawn) if len(drawn) >= MIN_CONTROLS else None
    return {"query_effect": effects}, QueryControl(drawn, None if largest is None else float(largest))


def _query_bound(control: QueryControl | None, thresholds: Thresholds) -> float:
    """Return what query effects must exceed: infinity if there is nothing to compare them with."""
    if control is None or control.bound is None:
        return math.inf
    return max(thresholds.queries, control.bound)


def _backup_scores(engine: Engine, knockout: EditSet, scores: Scores, direct: DirectEffects) -> Scores:
    """Return the direct effects on the logit difference under the name movers' knockout: all NaN without one."""
    before = scores["direct_logit_diff"]
    if not knockout:
        unknown = np.full_like(before, np.nan)
        return {"direct_after_ablation": unknown, "ablation_change": unknown}
    after = direct_effects_without(engine, knockout, direct)
    return {"direct_after_ablation": after, "ablation_change": after - before}


def _estimates(scores: Scores, bootstrap: Bootstrap, prompts: Sequence[int]) -> dict[str, Estimate]:
    """Return the mean of each score over some prompts, or over all random sequences: a row per head."""
    over_prompts = bootstrap.among(prompts)
    estimates = {}
    for name, values in scores.items():
        if name.endswith("_random"):
            estimates[name] = _estimate(values, bootstrap.over(values.shape[-1]), is_share=False)
        else:
            estimates[name] = _estimate(values[..., list(prompts)], over_prompts, is_share=name in SHARES)
    return estimates


def _estimate(values: Float[Array, "layer head sample"], bootstrap: Bootstrap, *, is_share: bool) -> Estimate:
    rows = values.reshape(-1, values.shape[-1])
    known = np.isfinite(rows[:, 0])  # a head's score was measured on all prompts or on none
    measured = np.where(known[:, None], rows, 0.0)
    estimate = bootstrap.share(measured) if is_share else bootstrap.mean(measured)
    return Estimate(*(np.where(known, part, np.nan) for part in vars(estimate).values()))


def _strong_without_role(shares: Estimate, heads: Sequence[Head], roles: Mapping[str, Sequence[Head]]) -> list[Head]:
    with_role = {head for of_role in roles.values() for head in of_role}
    strong = shares.exceeds(STRONG) | shares.negated().exceeds(STRONG)
    ranking = np.argsort(-np.abs(np.nan_to_num(shares.value)), kind="stable")
    return [heads[row] for row in ranking if strong[row] and heads[row] not in with_role]
