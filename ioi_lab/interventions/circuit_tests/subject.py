"""The circuit that is tested: found on one part of the prompts and tested on the other, or given by a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from ioi_lab.circuits.files import CircuitFile
from ioi_lab.circuits.finding import SearchSettings, circuits_of_counts, find_by_acdc, find_circuits
from ioi_lab.circuits.graph import Flags, Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.scores import SCORE_METHODS, ScoreSettings
from ioi_lab.circuits.selection import pruned
from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit.measure import check_has_edges, chosen_size, faithfulness_of
from ioi_lab.interventions.circuit.result import Split
from ioi_lab.interventions.circuit.setup import graph_of, runners_of, search_settings
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.circuit.keys import CircuitKeys
    from ioi_lab.interventions.circuit_tests.keys import CircuitTestKeys


@dataclass(frozen=True, eq=False)
class Subject:
    """A circuit, with how it can be found again and evaluated."""

    graph: Graph
    circuit: Bool[Flags, "edge"]
    """Without edges that are on no path from the input to the logits."""

    file: CircuitFile | None
    """The file that it comes from; None if it was found here."""

    split: Split
    discovery: CircuitRunner
    """Runs circuits on the prompts on which the circuit is searched: all if it comes from a file."""

    evaluation: CircuitRunner
    """Runs them on the prompts of the tests."""

    scores: Float[Array, "prompt edge"]
    """The scores of all edges in each discovery prompt."""

    settings: SearchSettings
    count: int
    """The number of edges that a search is asked for."""

    def search(self, scores: Float[Array, "edge"]) -> Bool[Flags, "edge"]:
        """Return the circuit of the same size by other scores; for ACDC and thresholds, that of the best edges."""
        found: Flags = circuits_of_counts(self.graph, scores, [self.count], self.settings)[0]
        return found


def subject_of(engine: Engine, keys: CircuitTestKeys) -> Subject:
    """Return the circuit that is tested.

    Raises a `LabError` for a file of another model, and for a circuit without a path from the input to the logits.
    """
    subject = found_subject(engine, keys) if keys.circuit is None else _given(engine, keys, keys.circuit)
    if not subject.circuit.any():
        key, what = ("circuit", keys.circuit) if keys.circuit else ("size", keys.size)
        raise LabError(
            f"intervention.{key}: got {what}, a circuit in which no path leads from the input to the logits, so there "
            "is nothing to test; expected a larger circuit"
        )
    return subject


def _scores(runner: CircuitRunner, keys: CircuitKeys) -> Float[Array, "prompt edge"]:
    settings = ScoreSettings(keys.objective, keys.ig_steps, keys.ig_rule, keys.seed)
    return SCORE_METHODS[keys.methods[0]](runner, settings)


def _given(engine: Engine, keys: CircuitTestKeys, place: str) -> Subject:
    key = "intervention.circuit"
    file = CircuitFile.read(place, key)
    graph = file.graph_in(engine.shape, key)
    circuit = pruned(graph, file.circuit_in(graph, key))
    runner = CircuitRunner(engine, graph, keys.ablation, keys.seed)
    rows = list(range(len(engine.prompts)))
    settings = search_settings(engine, graph, keys)
    return Subject(
        graph=graph,
        circuit=circuit,
        file=file,
        split=Split(rows, rows, 0, are_apart=False),
        discovery=runner,
        evaluation=runner,
        scores=_scores(runner, keys),
        settings=settings,
        count=_varied(circuit, settings),
    )


def found_subject(engine: Engine, keys: CircuitKeys) -> Subject:
    """Return a circuit that is found on one part of the prompts, to be evaluated on the other.

    Raises a `LabError` for keys that do not fit the model or the prompts, and if no edge is found.
    """
    graph = graph_of(engine, keys)
    settings = search_settings(engine, graph, keys)
    discovery, evaluation, split = runners_of(engine, graph, keys)
    scores = _scores(discovery, keys)
    if keys.search == "acdc":
        found = find_by_acdc(discovery, settings)
    else:
        if keys.size != "auto" and keys.search != "threshold":
            settings = replace(settings, sizes=[keys.size])  # no other is needed
        found = find_circuits(graph, scores.mean(axis=0), settings)
    chosen = 0
    if len(found.circuits) > 1:
        chosen = chosen_size(keys, graph, settings, found, faithfulness_of(discovery, found.circuits))
    check_has_edges(keys, found, chosen)
    circuit = found.circuits[chosen]
    is_asked = keys.search in ("topn", "greedy")
    return Subject(
        graph=graph,
        circuit=circuit,
        file=None,
        split=split,
        discovery=discovery,
        evaluation=evaluation,
        scores=scores,
        settings=settings,
        count=int(found.asked[chosen]) if is_asked else _varied(circuit, settings),
    )


def _varied(circuit: Bool[Flags, "edge"], settings: SearchSettings) -> int:
    """Return the number of those edges of a circuit that a search may vary."""
    varied = np.ones_like(circuit) if settings.varied is None else settings.varied
    return int((circuit & varied).sum())
