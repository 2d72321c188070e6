"""The name movers under edits: the heads that shape their queries, and their ablation against random heads.

Heads are ablated at END, by their output in a random other prompt with other names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.ablation import ablation_edits
from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.path_patching import path_patch_edits
from ioi_lab.interventions.self_checks import SelfChecks, checked_run
from ioi_lab.lenses.direct import DirectEffects, direct_effects
from ioi_lab.lenses.head_scores import share_of
from ioi_lab.lenses.roles import Head
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

_TRIES_PER_CONTROL: Final = 20
"""How often a set is drawn for each that is asked for: layers with few heads have few different sets."""


@dataclass(frozen=True)
class ControlEffect:
    """The effect of ablating random sets of heads, next to that of ablating the name movers."""

    change: Estimate
    """The change of the logit difference, as the mean over the sets."""

    lowest_change: float
    """The lowest change of a set, as the mean over prompts."""

    highest_change: float
    name_movers_minus_change: Estimate
    """The change by the name movers minus that by the random sets."""


@dataclass(frozen=True)
class Control:
    """Random sets with as many heads of each layer as the name movers, or all of the layer that are left."""

    sets: list[list[Head]]
    effect: ControlEffect | None
    """None if there are no sets, because the layers have no such heads."""

    @property
    def n_heads(self) -> int:
        """The number of heads in each set; 0 without sets."""
        return len(self.sets[0]) if self.sets else 0


@dataclass(frozen=True)
class NameMoverAblation:
    """The change of the logit difference if the name movers, or random sets of heads instead, are ablated."""

    change: Estimate
    """The change by the name movers."""

    controls: dict[str, Control]
    """`roleless`: random heads without a role; `others`: random heads that are not name movers."""


def query_effects(
    engine: Engine, senders: Sequence[Head], movers: Sequence[Head]
) -> dict[Head, Float[Array, "prompt"]]:
    """Return the share of the gap that is lost if a sender's corrupted output reaches the movers' queries alone.

    Method: path patching (see `ioi_lab.engine.path_patching`) of the clean pass at END, for each sender by itself. The
    gap is that of the mean logit differences, clean − corrupted. All senders must come before some mover.
    """
    if not senders:
        return {}
    sites = [[Site("z", *sender, "END")] for sender in senders]
    receivers = [Site("q", *mover) for mover in movers]
    edited = engine.run(path_patch_edits(engine, sites, receivers, "clean"), "clean").logit_diff
    clean, corrupted = engine.baseline("clean").logit_diff[0], engine.baseline("corrupted").logit_diff[0]
    gap = (clean - corrupted).mean()
    return {sender: share_of(clean - logit_diff, gap) for sender, logit_diff in zip(senders, edited, strict=True)}


def change_of_direct_effects(
    engine: Engine, movers: Sequence[Head], direct: DirectEffects, seed: int
) -> Float[Array, "layer head prompt"]:
    """Return the change of each head's direct effect on the answer if the name movers are ablated.

    It is a share of the answer's mean logit over the mean logit in the unedited pass, whose effects are `direct`.
    """
    (edits,) = resampling_edits(engine, [movers], seed)
    ablated = direct_effects(engine, "clean", edits)
    return share_of(ablated.answer.heads - direct.answer.heads, direct.answer.sum.mean())


def resampling_edits(engine: Engine, sets: Sequence[Sequence[Head]], seed: int) -> list[list[Edit]]:
    """Return, for each set of heads, the edits that give them their output at END in a random other prompt."""
    heads = sorted({head for heads in sets for head in heads})
    one_by_one = ablation_edits(
        engine, [[Site("z", *head, "END")] for head in heads], "resample", "random", "clean", seed
    )
    edits = dict(zip(heads, one_by_one, strict=True))
    return [[edit for head in heads for edit in edits[head]] for heads in sets]


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


def ablate_name_movers(
    engine: Engine, movers: Sequence[Head], controls: Mapping[str, list[list[Head]]], seed: int
) -> tuple[NameMoverAblation | None, SelfChecks]:
    """Measure the change of the logit difference by ablating the name movers and each of the random sets.

    Without name movers, the self-checks alone are run. Raises a `LabError` if one fails.
    """
    if not movers:
        return None, checked_run(engine, [], "clean")[1]
    sets = [movers, *(heads for drawn in controls.values() for heads in drawn)]
    readout, checks = checked_run(engine, resampling_edits(engine, sets, seed), "clean")
    changes = readout.logit_diff - engine.baseline("clean").logit_diff
    by_movers, start = changes[:1], 1
    compared = {}
    for name, drawn in controls.items():
        by_sets = changes[start : start + len(drawn)]
        compared[name] = Control(drawn, _control_effect(engine, by_movers, by_sets) if drawn else None)
        start += len(drawn)
    return NameMoverAblation(engine.bootstrap.mean(by_movers), compared), checks


def _control_effect(
    engine: Engine, by_movers: Float[Array, "1 prompt"], by_sets: Float[Array, "set prompt"]
) -> ControlEffect:
    by_control = by_sets.mean(axis=0, keepdims=True)
    of_sets = by_sets.mean(axis=-1)
    return ControlEffect(
        change=engine.bootstrap.mean(by_control),
        lowest_change=float(of_sets.min()),
        highest_change=float(of_sets.max()),
        name_movers_minus_change=engine.bootstrap.mean(by_movers - by_control),
    )
