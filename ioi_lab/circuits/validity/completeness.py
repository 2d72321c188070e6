"""Whether a circuit breaks as the model does: f(C∖K) against f(G∖K) for sets K of its heads and MLPs.

After Wang et al. 2022 (arXiv 2211.00593), section 4, for circuits of edges: without K, nothing reads what K writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float

from ioi_lab.circuits.graph import Flags
from ioi_lab.circuits.validity.evaluation import MARGIN, Evaluation, Outcome, largest_nodes, nodes_in, without
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

SetKind = Literal["random", "greedy"]

MAX_CANDIDATES: Final = 20
"""The greatest number of heads and MLPs that a greedy step tries."""


@dataclass(frozen=True)
class LeftOut:
    """A set K of heads and MLPs, left out of the circuit and of the whole model."""

    kind: SetKind
    label: str
    """The number of the random set, or of the greedy step."""

    nodes: list[str]
    circuit: Estimate
    """f(C∖K), with one row."""

    model: Estimate
    """f(G∖K), with one row."""

    difference: Estimate
    """f(C∖K) − f(G∖K), with one row: 0 if the circuit is complete with respect to K."""


def completeness(
    evaluation: Evaluation,
    circuit: Bool[Flags, "edge"],
    scores: Float[Array, "edge"],
    n_random: int,
    n_greedy: int,
    seed: int,
) -> list[LeftOut]:
    """Compare the circuit with the model without the same sets; none if the circuit has no head and no MLP.

    Args:
        evaluation: Runs circuits.
        circuit: The circuit C.
        scores: The scores of all edges: greedy steps try the `MAX_CANDIDATES` heads and MLPs with the largest.
        n_random: The number of random sets. Their sizes are drawn evenly over log size, up to half of the heads and
            MLPs of C: large sets break C and G alike.
        n_greedy: The number of steps that add what gives the largest |f(C∖K) − f(G∖K)| to K.
        seed: Draws the random sets.

    """
    nodes, rng = nodes_in(evaluation.graph, circuit), np.random.default_rng(seed)
    if not nodes:
        return []
    sets: list[tuple[SetKind, str, list[int]]] = []
    for number in range(n_random):
        size = round(np.exp(rng.uniform(0, np.log(max(1, len(nodes) / 2)))))
        sets.append(("random", str(number), sorted(rng.choice(nodes, size, replace=False).tolist())))
    largest = largest_nodes(evaluation.graph, circuit, scores, nodes, MAX_CANDIDATES)
    grown = _greedy(evaluation, circuit, largest, n_greedy)
    sets += [("greedy", str(step), members) for step, members in enumerate(grown, start=1)]
    if not sets:
        return []
    of_circuit, of_model = _both(evaluation, circuit, [members for _, _, members in sets])
    writers = evaluation.graph.writers
    return [
        LeftOut(
            kind,
            label,
            [writers[node].name for node in members],
            evaluation.faithfulness(of_circuit[[row]]),
            evaluation.faithfulness(of_model[[row]]),
            evaluation.changes(of_circuit[[row]] - of_model[[row]]),
        )
        for row, (kind, label, members) in enumerate(sets)
    ]


def is_beyond(difference: Estimate) -> bool:
    """Return whether a difference of f is beyond `MARGIN` with its whole interval."""
    low, high = np.nan_to_num(difference.low[0]), np.nan_to_num(difference.high[0])
    return bool(low > MARGIN or high < -MARGIN)


def outcome_of(sets: Sequence[LeftOut]) -> Outcome:
    """Return whether the circuit is complete: against it if some difference is beyond `MARGIN` with its interval."""
    if not sets:
        return "not testable"
    if any(is_beyond(each.difference) for each in sets):
        return "fails"
    return "holds" if all(abs(each.difference.value[0]) <= MARGIN for each in sets) else "not shown"


def _greedy(
    evaluation: Evaluation, circuit: Bool[Flags, "edge"], nodes: Sequence[int], n_steps: int
) -> list[list[int]]:
    """Return the sets of a greedy search: each has the one before and a further head or MLP."""
    grown: list[list[int]] = []
    for _ in range(min(n_steps, len(nodes) - 1)):
        last = grown[-1] if grown else []
        candidates = [[*last, node] for node in nodes if node not in last]
        of_circuit, of_model = _both(evaluation, circuit, candidates)
        grown.append(candidates[int(np.abs((of_circuit - of_model).mean(axis=1)).argmax())])
    return grown


def _both(
    evaluation: Evaluation, circuit: Bool[Flags, "edge"], sets: Sequence[list[int]]
) -> tuple[Float[Array, "set prompt"], Float[Array, "set prompt"]]:
    """Return the logit differences of C∖K and of G∖K for each K."""
    graph, whole = evaluation.graph, np.ones_like(circuit)
    kept = [without(graph, of, members) for of in (circuit, whole) for members in sets]
    values = evaluation.logit_diffs(np.stack(kept))
    return values[: len(sets)], values[len(sets) :]
