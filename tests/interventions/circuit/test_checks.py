from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit.checks import checked_circuits
from ioi_lab.stats.metrics import Readout


@pytest.mark.parametrize("ablation", ["corrupted", "zero"])
def test_all_edges_and_none_are_the_two_ends(engine, ablation):
    runner = CircuitRunner(engine, Graph.of(engine.shape), ablation)
    ends, _ = checked_circuits(runner, 0)
    assert ends.logit_diff[0] == pytest.approx(engine.baseline("clean").logit_diff[0], abs=1e-3)
    corrupted = engine.baseline("corrupted").logit_diff[0]
    assert np.allclose(ends.logit_diff[1], corrupted, atol=1e-3) == (ablation == "corrupted")


@pytest.mark.parametrize("wrong", ["all", "none", "one"])
def test_circuits_that_are_off_are_refused(engine, monkeypatch, wrong):
    runner = CircuitRunner(engine, Graph.of(engine.shape))
    run = runner.run

    def off(circuits, **options):
        values = run(circuits, **options).logit_diff.copy()
        kept = circuits.sum(axis=1)
        where = {"all": kept == runner.graph.n_edges, "none": kept == 0, "one": kept == runner.graph.n_edges - 1}
        values[where[wrong]] += 0.5
        return Readout(values)

    monkeypatch.setattr(runner, "run", off)
    with pytest.raises(LabError):
        checked_circuits(runner, 0)
