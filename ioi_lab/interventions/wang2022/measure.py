"""The measurements of Wang et al. 2022: roles, paths, and the circuit of all heads with a role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.circuits.completeness import KnockedOut, Needed, completeness, minimality
from ioi_lab.circuits.knockout import Knockout, PlacedHead
from ioi_lab.circuits.random_sets import random_sets
from ioi_lab.engine.edits import Site, precedes
from ioi_lab.engine.path_patching import path_patch_edits
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.grid_measure import grid_result
from ioi_lab.interventions.grid_result import GridResult, Row
from ioi_lab.interventions.head_roles.measure import ALL, HeadRolesResult, measure_head_roles
from ioi_lab.interventions.self_checks import SelfChecks, checked_run
from ioi_lab.lenses.attention import attention_to
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.lenses.roles import NAME_MOVER, S_INHIBITION, SUBJECT_SUPPRESSOR, Head, Thresholds
from ioi_lab.models.heads import head_name
from ioi_lab.models.selectors import cell_name
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

POSITIONS: Final = {"previous token": "S1+1", "duplicate token": "S2", "induction": "S2"}
"""The positions at which heads of these roles act; heads of all others act at END (Wang et al. 2022, figure 2)."""

MAX_MOVEMENTS: Final = 3
"""The greatest number of heads whose movement of names is measured prompt by prompt."""


@dataclass(frozen=True)
class Paths:
    """What heads send directly into some receivers, with MLPs running."""

    into: str
    """The receivers, such as `queries of the name movers 9.9 9.6`."""

    position: Position
    """The position at which senders are patched."""

    effects: GridResult


@dataclass(frozen=True)
class Movement:
    """The attention from END to each name, and the direct effect on that name's logit: figure 3c of the paper."""

    head: Head
    to_io: Float[Array, "prompt"]
    to_s: Float[Array, "prompt"]
    """To S1 and S2 together."""

    on_io: Float[Array, "prompt"]
    """Direct effect on the logit of IO, over the mean logit, in logits."""

    on_s: Float[Array, "prompt"]


@dataclass(frozen=True)
class CircuitResult:
    """The circuit of all heads with a role, and how it behaves alone and without some of its heads."""

    heads: list[PlacedHead]
    classes: dict[str, list[PlacedHead]]
    """The heads of each role that has some."""

    alone: Estimate
    """F(C), with one row."""

    whole: Estimate
    """F(M), with one row."""

    share: Estimate
    """F(C) / F(M), with one row."""

    difference: Estimate
    """F(C) − F(M), with one row: faithfulness is its absolute value."""

    nothing: Estimate
    """F(∅), with one row: with all heads knocked out."""

    random: Float[Array, "set"]
    """F of circuits of as many random heads at the same positions."""

    completeness: list[KnockedOut]
    minimality: list[Needed]

    @property
    def n_random_below(self) -> int:
        """The number of random circuits with a smaller F than the circuit."""
        return int((self.random < self.alone.value[0]).sum())


@dataclass(frozen=True)
class Wang2022Result(Result):
    """The results of all experiments."""

    roles: HeadRolesResult
    paths: list[Paths]
    """Into the logits; then, if some heads have these roles, into name movers (or subject suppressors) and S-inhibition
    heads."""

    movements: list[Movement]
    """How the name movers move names; if there are none, how the heads with the largest direct effects do."""

    circuit: CircuitResult | None
    """None if no head has a role."""


def measure_wang2022(
    engine: Engine,
    thresholds: Thresholds,
    *,
    n_sequences: int,
    n_controls: int,
    n_reference: int,
    n_random: int,
    n_greedy: int,
    seed: int,
) -> Wang2022Result:
    """Run the experiments of the paper; see `Wang2022` for the arguments.

    Raises a `LabError` for prompts that are not of `task=ioi` in both orders, and if a self-check fails.
    """
    knockout = Knockout(engine, n_reference, seed)
    roles = measure_head_roles(engine, thresholds, n_sequences, n_controls, knockout, seed)
    paths = _all_paths(engine, roles)
    circuit = _circuit(engine, roles, knockout, n_random, n_greedy, seed)
    return Wang2022Result(
        baselines=roles.baselines,
        checks=SelfChecks.worst([roles.checks, *(path.effects.checks for path in paths)]),
        roles=roles,
        paths=paths,
        movements=_movements(engine, roles),
        circuit=circuit,
    )


def _all_paths(engine: Engine, roles: HeadRolesResult) -> list[Paths]:
    """Measure the paths into the logits, the queries of what writes there, and values and queries of S-inhibition."""
    paths = [_paths(engine, roles.baselines, "logits", [], "END")]
    role = NAME_MOVER if roles.roles[NAME_MOVER] else SUBJECT_SUPPRESSOR
    writers, inhibitors = roles.roles[role], roles.roles[S_INHIBITION]
    per_key_value_head = engine.shape.n_heads // engine.shape.n_kv_heads
    receivers = [(f"queries of the {role}s", writers, [Site("q", *head) for head in writers], "END")]
    values = [Site("v", layer, head // per_key_value_head) for layer, head in inhibitors]
    receivers += [
        (f"values of the {S_INHIBITION} heads", inhibitors, list(dict.fromkeys(values)), "all"),
        (f"queries of the {S_INHIBITION} heads", inhibitors, [Site("q", *head) for head in inhibitors], "END"),
    ]
    for into, heads, sites, position in receivers:
        if any(layer > 0 for layer, _ in heads):
            names = " ".join(head_name(head) for head in heads)
            paths.append(_paths(engine, roles.baselines, f"{into} {names}", sites, position))
    return paths


def _paths(engine: Engine, baselines: Baselines, into: str, receivers: Sequence[Site], position: Position) -> Paths:
    """Measure the paths of all heads into some receivers: the corrupted output of each in the clean pass."""
    shape = engine.shape
    senders = [
        Site("z", layer, head, position)
        for layer in range(shape.n_layers)
        for head in range(shape.n_heads)
        if not receivers or any(precedes(Site("z", layer), to, parallel=shape.parallel) for to in receivers)
    ]
    edit_sets = path_patch_edits(engine, [[sender] for sender in senders], receivers, "clean", "free")
    readout, checks = checked_run(engine, edit_sets, "clean")
    rows = [Row([sender], cell_name(sender.layer, sender.head)) for sender in senders]
    return Paths(into, position, grid_result(engine, baselines, rows, readout, checks, "clean", "head"))


def _movements(engine: Engine, roles: HeadRolesResult) -> list[Movement]:
    shares = np.abs(np.nan_to_num(roles.scores[ALL]["direct_logit_diff"].value))
    strongest = [roles.heads[row] for row in np.argsort(-shares, kind="stable")]
    movers = roles.roles[NAME_MOVER]
    chosen = [head for head in strongest if head in movers or not movers][:MAX_MOVEMENTS]
    to_io, to_s1, to_s2, _ = attention_to(engine, "clean", "END", ["IO", "S1", "S2"]).transpose(2, 0, 1, 3)
    direct = direct_effects(engine, "clean")
    return [
        Movement(head, to_io[head], to_s1[head] + to_s2[head], direct.answer.heads[head], direct.distractor.heads[head])
        for head in chosen
    ]


def _circuit(
    engine: Engine, roles: HeadRolesResult, knockout: Knockout, n_random: int, n_greedy: int, seed: int
) -> CircuitResult | None:
    """Evaluate the circuit of all heads with a role, each at the position at which its role acts."""
    classes = {
        role: [PlacedHead(*head, POSITIONS.get(role, "END")) for head in heads]
        for role, heads in roles.roles.items()
        if heads
    }
    heads = sorted({head for of_class in classes.values() for head in of_class})
    if not heads:
        return None
    bootstrap, whole = engine.bootstrap, engine.baseline("clean").logit_diff
    placed = [(head.layer, head.head, head.position) for head in heads]
    random_heads = [
        [PlacedHead(layer, head, str(position)) for layer, head, position in drawn]
        for drawn in random_sets(placed, roles.heads, n_random, seed)
    ]
    values = knockout.logit_diffs([knockout.of_all_but(circuit) for circuit in (heads, [], *random_heads)])
    alone, nothing = values[:1], values[1:2]
    return CircuitResult(
        heads=heads,
        classes=classes,
        alone=bootstrap.mean(alone),
        whole=bootstrap.mean(whole),
        share=bootstrap.ratio(alone, whole),
        difference=bootstrap.mean(alone - whole),
        nothing=bootstrap.mean(nothing),
        random=values[2:].mean(axis=1),
        completeness=completeness(knockout, bootstrap, heads, classes, n_random, n_greedy, seed),
        minimality=minimality(knockout, bootstrap, heads, classes),
    )
