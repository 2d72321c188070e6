"""Whether a circuit is more faithful than random ones, and whether the model needs it more than other edges.

Sufficiency and partial necessity as in Shi et al. 2024 (arXiv 2410.13032).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float

from ioi_lab.circuits.graph import Flags
from ioi_lab.circuits.random_circuits import random_circuits
from ioi_lab.circuits.random_paths import RandomPaths
from ioi_lab.circuits.validity.evaluation import LEVEL, MARGIN, Evaluation, Outcome
from ioi_lab.errors import LabError
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

Kind = Literal["uniform", "matched", "paths"]
"""Random edges; as many of each class (layer and input of the reader); or edges on random paths."""

_ROUNDING: Final = 1e-5
"""What floating point may add to faithfulness."""


@dataclass(frozen=True)
class Comparison:
    """A circuit next to random ones of the same number of edges."""

    kind: Kind
    faithfulness: Estimate
    """The faithfulness of the circuit (sufficiency), or of the model without it (necessity), with one row."""

    random: Float[Array, "control"]
    """That of each random circuit; none if the test is not possible."""

    n_as_good: int
    """The number of random circuits that are at least as good: as near to f = 1, or as damaging when left out."""

    gain: float
    """By how much the circuit is better than the median random one, in units of f; NaN if there is none."""

    why_not: str = ""
    """Why the test is not possible."""

    @property
    def p_value(self) -> float:
        """The p-value of a permutation test: (1 + the number of those as good) / (1 + the number of all)."""
        return (1 + self.n_as_good) / (1 + len(self.random))

    @property
    def n_worse(self) -> int:
        """The number of random circuits that are not as good."""
        return len(self.random) - self.n_as_good

    @property
    def outcome(self) -> Outcome:
        """Against the claim if at least half of the random circuits are as good.

        For it only if the gain is also at least `MARGIN`: next to circuits that do nothing, the least effect is rare.
        """
        if self.why_not:
            return "not testable"
        if self.p_value < LEVEL and self.gain >= MARGIN:
            return "holds"
        return "fails" if self.n_as_good * 2 >= len(self.random) else "not shown"


def sufficiency(evaluation: Evaluation, circuit: Bool[Flags, "edge"], count: int, seed: int) -> list[Comparison]:
    """Compare a circuit with random ones of as many edges, by the distance of f from 1.

    The distance counts, since a circuit with f far above 1 does not behave as the model does either.
    """
    drawn: dict[Kind, Callable[[], Bool[Flags, "count edge"]]] = {
        "uniform": lambda: random_circuits(evaluation.graph, circuit, count, seed),
        "matched": lambda: random_circuits(evaluation.graph, circuit, count, seed + 1, matched=True),
        "paths": lambda: RandomPaths(evaluation.graph, seed + 2).circuits(int(circuit.sum()), count),
    }
    return [
        _compared(evaluation, circuit, kind, draw, lambda f: -np.abs(1 - f), complements=False)
        for kind, draw in drawn.items()
    ]


def necessity(evaluation: Evaluation, circuit: Bool[Flags, "edge"], count: int, seed: int) -> list[Comparison]:
    """Compare the model without a circuit with the model without as many random edges outside of it, by f."""

    def outside(*, matched: bool) -> Bool[Flags, "count edge"]:
        return random_circuits(evaluation.graph, circuit, count, seed, matched=matched, outside=True)

    drawn: dict[Kind, Callable[[], Bool[Flags, "count edge"]]] = {
        "uniform": lambda: outside(matched=False),
        "matched": lambda: outside(matched=True),
    }
    return [_compared(evaluation, circuit, kind, draw, lambda f: -f, complements=True) for kind, draw in drawn.items()]


def _compared(
    evaluation: Evaluation,
    circuit: Bool[Flags, "edge"],
    kind: Kind,
    draw: Callable[[], Bool[Flags, "count edge"]],
    goodness: Callable[[Array], Array],
    *,
    complements: bool,
) -> Comparison:
    why_not = ""
    drawn = np.zeros((0, len(circuit)), dtype=bool)
    if circuit.all():
        why_not = "the circuit has all edges"
    else:
        try:
            drawn = draw()
        except LabError as error:
            why_not = str(error).partition(": ")[2].partition(";")[0]
    circuits = np.concatenate([circuit[None], drawn])
    values = evaluation.logit_diffs(~circuits if complements else circuits)
    f = evaluation.points(values)
    own, others = float(goodness(f[:1])[0]), goodness(f[1:])
    return Comparison(
        kind=kind,
        faithfulness=evaluation.faithfulness(values[:1]),
        random=f[1:],
        n_as_good=int((others >= own - _ROUNDING).sum()),
        gain=own - float(np.median(others)) if len(others) else np.nan,
        why_not=why_not,
    )
