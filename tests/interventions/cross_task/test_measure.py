"""Each circuit on every task, against circuits that are run by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.random_circuits import edge_classes
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.interventions.circuit_tests.subject import found_subject
from ioi_lab.tasks.named import task_named


def prompts_of_both(engine, intervention):
    other = task_named("ioi", 20, 0, "intervention.others").prompt_pairs(engine.model.tokens)
    return [engine.prompts, other]


@pytest.mark.long
def test_faithfulness_is_that_of_each_circuit_by_itself(engine, intervention, result):
    for task, prompts in enumerate(prompts_of_both(engine, intervention)):
        subject = found_subject(engine.on(prompts), intervention)
        assert (subject.circuit == result.circuits[task]).all()
        runner = CircuitRunner(subject.evaluation.engine, result.graph)
        ends = runner.ends().logit_diff.mean(axis=1)
        values = runner.run(result.circuits, progress=False)
        expected = (values.logit_diff.mean(axis=1) - ends[1]) / (ends[0] - ends[1])
        assert result.on[task].faithfulness.value == pytest.approx(expected, abs=1e-5)
        assert result.on[task].accuracy.value == pytest.approx(values.correct.mean(axis=1))


def test_excess_and_specificity_are_differences(result):
    for task, on in enumerate(result.on):
        assert on.random.shape == (2, 10)
        expected = on.faithfulness.value - on.random.mean(axis=1)
        assert on.excess.value == pytest.approx(expected, abs=1e-6)
        other = 1 - task
        specificity = result.specificity[task].value
        assert np.isnan(specificity[task])
        own = result.on[other].excess.value[other]
        assert specificity[other] == pytest.approx(own - on.excess.value[other])
        as_faithful = (on.random[other] >= on.faithfulness.value[other]).sum()
        assert result.p_random(other, task) == pytest.approx((1 + as_faithful) / 11)


def test_circuits_of_one_task_in_two_forms_are_not_specific(result):
    """Both do IOI: each circuit does the other's prompts, far better than random circuits."""
    for task in range(2):
        assert result.on[task].faithfulness.value.min() > 0.5
        assert result.on[task].random.mean() < 0.3
        assert abs(result.specificity[task].value[1 - task]) < 0.5
    assert result.n_shared[0, 1] > 0.3 * result.n_edges.max()
    assert result.n_shared.diagonal().tolist() == result.n_edges.tolist()
    assert len(edge_classes(result.graph)) == result.circuits.shape[1]
