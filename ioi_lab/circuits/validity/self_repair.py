"""Pairs of heads of a circuit of which leaving out both costs more than the sum of what each costs alone.

So it is if one head backs up the other (self-repair), but also if the logit difference saturates: the excess alone
does not distinguish the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.circuits.graph import Flags
from ioi_lab.circuits.validity.evaluation import Evaluation, Outcome, largest_nodes, nodes_in, without
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, discover
from ioi_lab.stats.metrics import Array


@dataclass(frozen=True)
class SelfRepair:
    """Pairs of heads, left out of the whole model alone and together."""

    pairs: list[tuple[str, str]]
    n_pairs: int
    """The number of pairs of the circuit's heads, of which some may not have been tested."""

    first: Estimate
    """m(G) − m(G∖a) of each pair, in logits."""

    second: Estimate
    """m(G) − m(G∖b)."""

    joint: Estimate
    """m(G) − m(G∖{a, b})."""

    excess: Estimate
    """The joint loss less the sum of both: above 0 as with a backup, below 0 as if one works through the other."""

    found: Bool[NDArray[np.bool_], "pair"]
    """Whether the excess is distinguishable from 0, corrected for the number of pairs (Benjamini–Hochberg at 5 %)."""

    is_tested: bool
    """Whether there were enough prompts for tests."""

    @property
    def beyond_sum(self) -> Bool[NDArray[np.bool_], "pair"]:
        """The pairs that cost more together than the sum of both alone."""
        return np.asarray(self.found & (self.excess.value > 0))

    @property
    def outcome(self) -> Outcome:
        """Against the claim that no pair costs more together; never for it, as not all sets of heads can be tested."""
        if not self.pairs or not self.is_tested:
            return "not testable"
        return "fails" if self.beyond_sum.any() else "not shown"


def self_repair(
    evaluation: Evaluation, circuit: Bool[Flags, "edge"], scores: Float[Array, "edge"], most: int
) -> SelfRepair:
    """Leave pairs of a circuit's heads out of the whole model.

    At most `most` pairs of the `most` + 1 heads with the largest scores: the pairs of the head with the largest loss
    with all others first, since a backup costs little alone.
    """
    graph, bootstrap = evaluation.graph, evaluation.runner.engine.bootstrap
    every = [node for node in nodes_in(graph, circuit) if graph.writers[node].head is not None]
    heads = largest_nodes(graph, circuit, scores, every, most + 1)
    whole = np.ones_like(circuit)
    losses = dict.fromkeys(heads, np.zeros_like(evaluation.whole[0]))
    if heads:
        alone = evaluation.logit_diffs(np.stack([without(graph, whole, [head]) for head in heads]))
        losses = dict(zip(heads, evaluation.whole - alone, strict=True))
    sizes = {head: abs(loss.mean()) for head, loss in losses.items()}
    pairs = [tuple(sorted(pair, key=lambda head: -sizes[head])) for pair in combinations(heads, 2)]
    pairs.sort(key=lambda pair: (-sizes[pair[0]], -sizes[pair[1]]))
    tested = pairs[:most]
    nothing = np.zeros((0, evaluation.whole.shape[1]))
    joint = first = second = nothing
    if tested:
        joint = evaluation.whole - evaluation.logit_diffs(
            np.stack([without(graph, whole, list(pair)) for pair in tested])
        )
        first, second = (np.stack([losses[pair[side]] for pair in tested]) for side in (0, 1))
    excess = joint - first - second
    found = np.zeros(0, dtype=bool)
    is_tested = False
    if tested:
        discoveries = discover(excess, np.ones((1, excess.shape[1])), bootstrap, ROUNDING)
        found, is_tested = discoveries.found, discoveries.is_known
    return SelfRepair(
        pairs=[(graph.writers[a].name, graph.writers[b].name) for a, b in tested],
        n_pairs=len(every) * (len(every) - 1) // 2,
        first=bootstrap.mean(first),
        second=bootstrap.mean(second),
        joint=bootstrap.mean(joint),
        excess=bootstrap.mean(excess),
        found=found,
        is_tested=is_tested,
    )
