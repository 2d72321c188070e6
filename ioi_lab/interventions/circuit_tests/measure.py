"""The measurement of all tests of a circuit, on the same prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float

from ioi_lab.circuits.faithfulness import check_gap
from ioi_lab.circuits.validity.ablation_choice import Choice, ablation_choices
from ioi_lab.circuits.validity.by_group import Grouping, by_group
from ioi_lab.circuits.validity.completeness import LeftOut, completeness
from ioi_lab.circuits.validity.controls import Comparison, necessity, sufficiency
from ioi_lab.circuits.validity.equivalence import Equivalence, equivalence
from ioi_lab.circuits.validity.evaluation import Evaluation
from ioi_lab.circuits.validity.minimality import Minimality, minimality
from ioi_lab.circuits.validity.self_repair import SelfRepair, self_repair
from ioi_lab.circuits.validity.stability import Stability, stability
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.circuit.checks import checked_circuits
from ioi_lab.interventions.circuit_tests.subject import Subject, subject_of
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.circuit_tests.keys import CircuitTestKeys


@dataclass(frozen=True)
class CircuitTestsResult(Result):
    """The results of all tests of one circuit."""

    keys: CircuitTestKeys
    subject: Subject
    faithfulness: Estimate
    """f(C), with one row."""

    logit_diff: Float[Array, "1 prompt"]
    """The logit difference of each prompt with the circuit."""

    sufficiency: list[Comparison]
    necessity: list[Comparison]
    minimality: Minimality
    equivalence: Equivalence
    ablations: list[Choice]
    stability: Stability
    groups: list[Grouping]
    completeness: list[LeftOut]
    self_repair: SelfRepair


def measure_circuit_tests(engine: Engine, keys: CircuitTestKeys) -> CircuitTestsResult:
    """Find or read a circuit, and test it.

    Raises a `LabError` for keys that do not fit the model or the prompts, and if a self-check fails.
    """
    subject = subject_of(engine, keys)
    graph, circuit, runner, seed = subject.graph, subject.circuit, subject.evaluation, keys.seed
    baselines = Baselines.measure(runner.engine)
    ends, checks = checked_circuits(runner, seed)
    whole, empty = ends.logit_diff[:1], ends.logit_diff[1:]
    check_gap(whole, empty)
    evaluation = Evaluation(runner, whole, empty)
    logit_diff, scores = evaluation.logit_diffs(circuit[None]), subject.scores.mean(axis=0)
    return CircuitTestsResult(
        baselines=baselines,
        checks=checks,
        keys=keys,
        subject=subject,
        faithfulness=evaluation.faithfulness(logit_diff),
        logit_diff=logit_diff,
        sufficiency=sufficiency(evaluation, circuit, keys.controls, seed),
        necessity=necessity(evaluation, circuit, keys.controls, seed),
        minimality=minimality(evaluation, circuit, scores, keys.max_edges, keys.added_edges, seed),
        equivalence=equivalence(evaluation, logit_diff),
        ablations=ablation_choices(runner.engine, graph, circuit, seed),
        stability=stability(
            subject.discovery.engine.bootstrap, graph, circuit, subject.scores, subject.search, keys.resamples, seed
        ),
        groups=by_group(evaluation, logit_diff, seed),
        completeness=completeness(evaluation, circuit, scores, keys.random_sets, keys.greedy_steps, seed),
        self_repair=self_repair(evaluation, circuit, scores, keys.max_pairs),
    )
