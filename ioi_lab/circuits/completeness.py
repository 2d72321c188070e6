"""Completeness and minimality of a circuit: Wang et al. 2022 (arXiv 2211.00593), section 4.

A circuit C of the model M is complete if C∖K behaves as M∖K for every subset K of C: then nothing outside of C takes
over for K. It is minimal if each head v changes F(C∖K) for some K: |F(C∖(K ∪ {v})) − F(C∖K)| is large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.circuits.knockout import Knockout, PlacedHead
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.discoveries import ROUNDING, discover
from ioi_lab.stats.metrics import Array

Kind = Literal["class", "random", "greedy"]
NO_HEAD: Final = "no head"
"""The label of the empty subset."""


@dataclass(frozen=True)
class KnockedOut:
    """A subset K of a circuit, knocked out of the circuit and out of the whole model."""

    kind: Kind
    label: str
    """The name of the class, or the number of the random set or of the greedy step."""

    heads: list[PlacedHead]
    circuit: Estimate
    """F(C∖K), with one row."""

    model: Estimate
    """F(M∖K), with one row."""

    difference: Estimate
    """F(C∖K) − F(M∖K), with one row: 0 if the circuit is complete with respect to K."""


@dataclass(frozen=True)
class Needed:
    """What a head of a circuit changes once a subset K of the circuit is knocked out."""

    head: PlacedHead
    without: str
    """The subset K: a class without the head itself, or `no head`. Of those tried, the one with the largest change."""

    change: Estimate
    """F(C∖(K ∪ {v})) − F(C∖K), with one row."""

    is_found: bool
    """Whether the change is distinguishable from 0, corrected for the number of heads and of subsets."""


def completeness(
    knockout: Knockout,
    bootstrap: Bootstrap,
    circuit: Sequence[PlacedHead],
    classes: Mapping[str, Sequence[PlacedHead]],
    n_random: int,
    n_greedy: int,
    seed: int,
) -> list[KnockedOut]:
    """Compare C∖K with M∖K for each class, for random subsets, and for subsets that grow greedily.

    Args:
        knockout: The knockouts of the model's heads.
        bootstrap: Resamples of the prompts.
        circuit: The heads of C.
        classes: The heads of each class of C.
        n_random: The number of random subsets: each head of C is in one with probability 1/2.
        n_greedy: The number of steps that add the head with the largest |F(C∖K) − F(M∖K)| to K.
        seed: Draws the random subsets.

    """
    sets: list[tuple[Kind, str, list[PlacedHead]]] = [
        ("class", label, list(heads)) for label, heads in classes.items() if heads
    ]
    rng = np.random.default_rng(seed)
    for number in range(n_random):
        chosen = rng.random(len(circuit)) < 0.5
        sets.append(("random", str(number), [head for head, is_in in zip(circuit, chosen, strict=True) if is_in]))
    sets += [("greedy", str(step), heads) for step, heads in enumerate(_greedy(knockout, circuit, n_greedy), start=1)]
    of_circuit, of_model = _both(knockout, circuit, [heads for _, _, heads in sets])
    return [
        KnockedOut(
            kind,
            label,
            heads,
            *(bootstrap.mean(part[[row]]) for part in (of_circuit, of_model, of_circuit - of_model)),
        )
        for row, (kind, label, heads) in enumerate(sets)
    ]


def _greedy(knockout: Knockout, circuit: Sequence[PlacedHead], n_steps: int) -> list[list[PlacedHead]]:
    """Return the sets of a greedy search: each has the one before and a further head."""
    grown: list[list[PlacedHead]] = []
    for _ in range(min(n_steps, len(circuit) - 1)):
        last = grown[-1] if grown else []
        candidates = [[*last, head] for head in circuit if head not in last]
        of_circuit, of_model = _both(knockout, circuit, candidates)
        grown.append(candidates[int(np.abs((of_circuit - of_model).mean(axis=1)).argmax())])
    return grown


def _both(
    knockout: Knockout, circuit: Sequence[PlacedHead], sets: Sequence[Sequence[PlacedHead]]
) -> tuple[Float[Array, "set prompt"], Float[Array, "set prompt"]]:
    """Return the logit differences of C∖K and of M∖K for each K."""
    edit_sets = [knockout.of_all_but([head for head in circuit if head not in heads]) for heads in sets]
    values = knockout.logit_diffs([*edit_sets, *(knockout.of(heads) for heads in sets)])
    return values[: len(sets)], values[len(sets) :]


def minimality(
    knockout: Knockout,
    bootstrap: Bootstrap,
    circuit: Sequence[PlacedHead],
    classes: Mapping[str, Sequence[PlacedHead]],
) -> list[Needed]:
    """Return, for each head v of C, its change of F(C∖K) for the K with the largest: no head, or a class without v."""
    tried = [
        (head, label, [other for other in heads if other != head])
        for head in circuit
        for label, heads in {NO_HEAD: (), **classes}.items()
        if label == NO_HEAD or set(heads) - {head}
    ]
    kept = [[head for head in circuit if head not in others] for _, _, others in tried]
    with_head = [knockout.of_all_but(heads) for heads in kept]
    without = [
        knockout.of_all_but([other for other in heads if other != head])
        for heads, (head, _, _) in zip(kept, tried, strict=True)
    ]
    values = knockout.logit_diffs([*with_head, *without])
    changes = values[len(tried) :] - values[: len(tried)]
    found = discover(changes, np.ones_like(changes[:1]), bootstrap, ROUNDING).found
    needed = []
    for head in circuit:
        rows = [row for row, (of, _, _) in enumerate(tried) if of == head]
        row = max(rows, key=lambda row: abs(changes[row].mean()))
        needed.append(Needed(head, tried[row][1], bootstrap.mean(changes[[row]]), bool(found[row])))
    return needed
