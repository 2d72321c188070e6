"""The circuit of each task on the prompts of every task, next to random circuits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from ioi_lab.circuits.faithfulness import check_gap
from ioi_lab.circuits.graph import Flags, Graph, Indices
from ioi_lab.circuits.random_circuits import random_circuits
from ioi_lab.circuits.selection import pruned
from ioi_lab.circuits.validity.evaluation import Evaluation
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.circuit.checks import checked_circuits
from ioi_lab.interventions.circuit_tests.subject import Subject, found_subject
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.storage.tensors import ModelOrigin
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.circuit.keys import CircuitKeys


@dataclass(frozen=True)
class OnTask:
    """All circuits on the prompts of one task, a row per circuit."""

    baselines: Baselines
    faithfulness: Estimate
    random: Float[Array, "circuit control"]
    """The faithfulness of the random circuits of each circuit."""

    excess: Estimate
    """Faithfulness less the mean of the random circuits."""

    accuracy: Estimate
    checks: SelfChecks


@dataclass(frozen=True)
class CrossTaskResult(Result):
    """The circuit of each task on every task; the first is the task of the run."""

    graph: Graph
    origin: ModelOrigin
    keys: CircuitKeys
    others: list[str]
    """The names of the other tasks."""

    circuits: Bool[Flags, "circuit edge"]
    scores: Float[Array, "circuit edge"]
    """The mean score of each edge over the prompts that its circuit was found on."""

    on: list[OnTask]
    """By the task whose prompts are evaluated."""

    specificity: list[Estimate]
    """By the task whose prompts are evaluated, of each circuit: its excess on its own task less that on this one."""

    @property
    def n_edges(self) -> Int[Indices, "circuit"]:
        """The number of edges of each circuit."""
        counts: Indices = self.circuits.sum(axis=1)
        return counts

    @property
    def n_shared(self) -> Int[Indices, "circuit circuit"]:
        """The number of edges that two circuits share."""
        flags = self.circuits.astype(np.int64)
        shared: Indices = flags @ flags.T
        return shared

    def p_random(self, circuit: int, task: int) -> float:
        """Return the share of random circuits, the circuit itself among them, that are at least as faithful."""
        found = self.on[task]
        n_as_faithful = int((found.random[circuit] >= found.faithfulness.value[circuit]).sum())
        return (1 + n_as_faithful) / (1 + self.keys.controls)


def measure_cross_task(engine: Engine, keys: CircuitKeys, others: Mapping[str, PromptPairs]) -> CrossTaskResult:
    """Find the circuit of the engine's prompts and of those of each other task, and evaluate all on all.

    Raises a `LabError` that names the task if the model does not do it, or its prompts cannot be split.
    """
    subjects = [found_subject(engine, keys)]
    for name, prompts in others.items():
        with _naming(name):
            subjects.append(found_subject(engine.on(prompts), keys))
    circuits = np.stack([subject.circuit for subject in subjects])
    controls = np.stack([_controls(subject, keys, number) for number, subject in enumerate(subjects)])
    on = [_on_task(subjects[0], circuits, controls, keys)]
    for name, subject in zip(others, subjects[1:], strict=True):
        with _naming(name):
            on.append(_on_task(subject, circuits, controls, keys))
    return CrossTaskResult(
        baselines=on[0].baselines,
        checks=SelfChecks.worst([each.checks for each in on]),
        graph=subjects[0].graph,
        origin=engine.model.origin,
        keys=keys,
        others=list(others),
        circuits=circuits,
        scores=np.stack([subject.scores.mean(axis=0) for subject in subjects]),
        on=on,
        specificity=_specificity([each.excess for each in on]),
    )


@contextmanager
def _naming(task: str) -> Iterator[None]:
    """Name the task in errors."""
    try:
        yield
    except LabError as error:
        raise LabError(f"intervention.others: {task}: {error}") from error


def _controls(subject: Subject, keys: CircuitKeys, number: int) -> Bool[Flags, "control edge"]:
    graph = subject.graph
    drawn = random_circuits(
        graph, subject.circuit, keys.controls, keys.seed + number, matched=True, varied=subject.settings.varied
    )
    return np.stack([pruned(graph, circuit) for circuit in drawn])


def _on_task(
    subject: Subject,
    circuits: Bool[Flags, "circuit edge"],
    controls: Bool[Flags, "circuit control edge"],
    keys: CircuitKeys,
) -> OnTask:
    runner = subject.evaluation
    engine = runner.engine
    baselines = Baselines.measure(engine)
    ends, checks = checked_circuits(runner, keys.seed)
    whole, empty = ends.logit_diff[:1], ends.logit_diff[1:]
    check_gap(whole, empty)
    evaluation = Evaluation(runner, whole, empty)
    n_circuits, n_controls = controls.shape[:2]
    readout = runner.run(np.concatenate([circuits, controls.reshape(-1, controls.shape[2])]))
    own, random = readout.logit_diff[:n_circuits], readout.logit_diff[n_circuits:]
    return OnTask(
        baselines=baselines,
        faithfulness=evaluation.faithfulness(own),
        random=evaluation.points(random).reshape(n_circuits, n_controls),
        excess=evaluation.changes(own - random.reshape(n_circuits, n_controls, -1).mean(axis=1)),
        accuracy=engine.bootstrap.share(readout.correct[:n_circuits]),
        checks=checks,
    )


def _specificity(excess: Sequence[Estimate]) -> list[Estimate]:
    """Return by task, and in it by circuit, the excess on the circuit's own task less that on this one."""
    own = Estimate.joined([each.rows([circuit]) for circuit, each in enumerate(excess)])
    found = [own.less(each) for each in excess]
    for task, each in enumerate(found):  # the same prompts, whose difference is 0
        for values in (each.value, each.low, each.high):
            values[task] = np.nan
    return found
