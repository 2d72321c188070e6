"""The name movers under edits: the heads that shape their queries, and their knockout against random heads.

Heads are knocked out at END, by the mean of their output over prompts of the same sentence and order with three
unrelated names (Wang et al. 2022, arXiv 2211.00593).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.circuits.knockout import Knockout, PlacedHead
from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.engine.path_patching import path_patch_edits
from ioi_lab.interventions.self_checks import SelfChecks, checked_run
from ioi_lab.lenses.direct import DirectEffects, direct_effects
from ioi_lab.lenses.head_scores import share_of
from ioi_lab.lenses.roles import Head
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

MIN_CONTROLS: Final = 20
"""The least number of random heads or sets of heads that something is compared with: with fewer, chance is unknown."""

_TRIES_PER_CONTROL: Final = 20
"""How often a set is drawn for each that is asked for: layers with few heads have few different sets."""


@dataclass(frozen=True)
class QueryControl:
    """Random heads whose paths into the name movers' queries are patched as those of the candidates are."""

    heads: list[Head]
    """Heads between the first candidate's layer and the last name mover's that do not attend from END to S2."""

    bound: float | None
    """The largest mean query effect of a random head, which candidates have to exceed; None with too few heads."""


@dataclass(frozen=True)
class ControlEffect:
    """The effect of knocking out random sets of heads, next to that of the name movers."""

    change: Estimate
    """The change of the logit difference, as the mean over the sets."""

    lowest_change: float
    """The lowest change of a set, as the mean over prompts."""

    highest_change: float
    name_movers_minus_change: Estimate
    """The change by the name movers minus that by the random sets."""

    p_value: float
    """The share of sets, the name movers included, whose mean change is at or below that of the name movers."""


@dataclass(frozen=True)
class Control:
    """Random sets with as many heads of each layer as the name movers, or all of the layer that are left."""

    sets: list[list[Head]]
    effect: ControlEffect | None
    """None if there are fewer than `MIN_CONTROLS` different sets."""

    @property
    def n_heads(self) -> int:
        """The number of heads in each set; 0 without sets."""
        return len(self.sets[0]) if self.sets else 0


@dataclass(frozen=True)
class NameMoverAblation:
    """The change of the logit difference if the name movers, or random sets of heads instead, are knocked out."""

    change: Estimate
    """The change by the name movers."""

    controls: dict[str, Control]
    """`roleless`: random heads without a role; `others`: random heads that are not name movers."""


def query_effects(
    engine: Engine, senders: Sequence[Head], movers: Sequence[Head]
) -> dict[Head, Float[Array, "prompt"]]:
    """Return the share of the gap that is lost if a sender's corrupted output reaches the movers' queries alone.

    Method: path patching (see `ioi_lab.engine.path_patching`) of the clean pass at END, for each sender by itself; MLPs
    run, as in Wang et al. The gap is that of the mean logit differences, clean − corrupted. All senders must come
    before some mover.
    """
    if not senders:
        return {}
    sites = [[Site("z", *sender, "END")] for sender in senders]
    receivers = [Site("q", *mover) for mover in movers]
    edited = engine.run(path_patch_edits(engine, sites, receivers, "clean", "free"), "clean").logit_diff
    clean, corrupted = engine.baseline("clean").logit_diff[0], engine.baseline("corrupted").logit_diff[0]
    gap = (clean - corrupted).mean()
    return {sender: share_of(clean - logit_diff, gap) for sender, logit_diff in zip(senders, edited, strict=True)}


def control_heads(
    candidates: Sequence[Head], movers: Sequence[Head], n_heads: int, count: int, seed: int
) -> list[Head]:
    """Return up to `count` random heads from the first candidate's layer on, before the last name mover's layer.

    None of them is a candidate or a name mover.
    """
    first, last = min((layer for layer, _ in candidates), default=0), max(layer for layer, _ in movers)
    others = [head for head in product(range(first, last), range(n_heads)) if head not in {*candidates, *movers}]
    drawn = np.random.default_rng(seed).permutation(len(others))[:count]
    return [others[index] for index in sorted(drawn)]


def at_end(heads: Sequence[Head]) -> list[PlacedHead]:
    """Return heads at END, the position from which they write the next token."""
    return [PlacedHead(layer, head, "END") for layer, head in heads]


def direct_effects_without(
    engine: Engine, knockout: EditSet, direct: DirectEffects
) -> Float[Array, "layer head prompt"]:
    """Return each head's direct effect on the logit difference under a knockout.

    It is a share of the mean logit difference in the unedited pass, whose effects are `direct`.
    """
    without = direct_effects(engine, "clean", knockout)
    return share_of(without.difference.heads, direct.logit_diff.mean())


def control_sets(
    movers: Sequence[Head], roles: Mapping[str, Sequence[Head]], n_heads: int, count: int, seed: int
) -> dict[str, list[list[Head]]]:
    """Return up to `count` different random sets of heads of each kind of control (see `NameMoverAblation`).

    A set has as many heads of each layer as the name movers, or all of the layer that are left if these are fewer.
    """
    with_role = {head for heads in roles.values() for head in heads}
    counts = {layer: sum(at == layer for at, _ in movers) for layer in sorted({layer for layer, _ in movers})}
    rng = np.random.default_rng(seed)
    controls = {}
    for name, excluded in (("roleless", with_role), ("others", set(movers))):
        pools = {layer: [(layer, h) for h in range(n_heads) if (layer, h) not in excluded] for layer in counts}
        drawn: set[tuple[Head, ...]] = set()
        for _ in range(_TRIES_PER_CONTROL * count):
            picks = [rng.permutation(len(pool))[: counts[layer]] for layer, pool in pools.items()]
            heads = [pool[i] for pool, pick in zip(pools.values(), picks, strict=True) for i in sorted(pick)]
            if heads and len(drawn) < count:
                drawn.add(tuple(heads))
        controls[name] = [list(heads) for heads in sorted(drawn)]
    return controls


def knock_out_name_movers(
    engine: Engine,
    movers: Sequence[Head],
    controls: Mapping[str, list[list[Head]]],
    knockout: Knockout,
) -> tuple[NameMoverAblation | None, SelfChecks]:
    """Measure the change of the logit difference by knocking out the name movers and each of the random sets.

    Without name movers, the self-checks alone are run. Raises a `LabError` if one fails.
    """
    if not movers:
        return None, checked_run(engine, [], "clean")[1]
    tested = {name: drawn if len(drawn) >= MIN_CONTROLS else [] for name, drawn in controls.items()}
    sets = [movers, *(heads for drawn in tested.values() for heads in drawn)]
    readout, checks = checked_run(engine, [knockout.of(at_end(heads)) for heads in sets], "clean")
    changes = readout.logit_diff - engine.baseline("clean").logit_diff
    by_movers, start = changes[:1], 1
    compared = {}
    for name, drawn in tested.items():
        by_sets = changes[start : start + len(drawn)]
        compared[name] = Control(controls[name], _control_effect(engine, by_movers, by_sets) if drawn else None)
        start += len(drawn)
    return NameMoverAblation(engine.bootstrap.mean(by_movers), compared), checks


def _control_effect(
    engine: Engine, by_movers: Float[Array, "1 prompt"], by_sets: Float[Array, "set prompt"]
) -> ControlEffect:
    by_control = by_sets.mean(axis=0, keepdims=True)
    of_sets = by_sets.mean(axis=-1)
    n_as_low = int((of_sets <= by_movers.mean()).sum())
    return ControlEffect(
        change=engine.bootstrap.mean(by_control),
        lowest_change=float(of_sets.min()),
        highest_change=float(of_sets.max()),
        name_movers_minus_change=engine.bootstrap.mean(by_movers - by_control),
        p_value=(1 + n_as_low) / (1 + len(of_sets)),
    )
