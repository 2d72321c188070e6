"""How far the faithfulness of one circuit depends on how the rest is ablated (Miller et al. 2024, arXiv 2407.08734)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool

from ioi_lab.circuits.counterfactuals import ABLATIONS, Ablation
from ioi_lab.circuits.faithfulness import FAITHFUL
from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.validity.evaluation import Evaluation, Outcome, among_nodes
from ioi_lab.errors import LabError
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

Unit = Literal["edges", "nodes"]
"""Whether the circuit's edges are kept, or all edges between its heads and MLPs."""

UNITS: tuple[Unit, ...] = ("edges", "nodes")


@dataclass(frozen=True)
class Choice:
    """The faithfulness of a circuit under one choice of ablation."""

    ablation: Ablation
    unit: Unit
    faithfulness: Estimate | None
    """With one row; None if it is not possible or not defined on these prompts."""

    why_not: str = ""


def ablation_choices(engine: Engine, graph: Graph, circuit: Bool[Flags, "edge"], seed: int) -> list[Choice]:
    """Return the faithfulness of a circuit for each value that ablated edges may carry, by edges and by nodes.

    `seed` draws the other prompts of `resample`.
    """
    circuits = np.stack([circuit, among_nodes(graph, circuit)])
    choices = []
    for ablation in ABLATIONS:
        try:
            evaluation = Evaluation.of(CircuitRunner(engine, graph, ablation, seed))
        except LabError as error:
            choices += [Choice(ablation, unit, None, _why(error)) for unit in UNITS]
            continue
        f = evaluation.faithfulness(evaluation.logit_diffs(circuits))
        choices += [Choice(ablation, unit, f.rows([row])) for row, unit in enumerate(UNITS)]
    return choices


def outcome_of(choices: Sequence[Choice]) -> Outcome:
    """Return whether the circuit is faithful whatever the choice: against it if some interval is below `FAITHFUL`."""
    known = [choice.faithfulness for choice in choices if choice.faithfulness is not None]
    if len(known) < 2:
        return "not testable"
    if any(np.nan_to_num(f.high[0], nan=np.inf) < FAITHFUL for f in known):
        return "fails"
    return "holds" if all(f.value[0] >= FAITHFUL for f in known) else "not shown"


def _why(error: LabError) -> str:
    """Return what an error says, without the config key and without what to type instead."""
    why = str(error).partition(": ")[2].partition("; expected")[0].partition(", so ")[0]
    return why.partition(", but ")[2] or why
