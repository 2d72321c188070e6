"""Passes of circuits equal passes by hand on plain Hugging Face models, for any set of edges."""

from __future__ import annotations

import numpy as np
import pytest

from tests.circuits.setups import random_circuits


@pytest.mark.parametrize("labels", [(), ("S2", "END")])
def test_any_circuit_equals_a_pass_by_hand(setup, labels):
    graph = setup.graph(labels)
    circuits = random_circuits(graph, [0.03, 0.3, 0.6, 0.95])
    readout = setup.runner(labels).run(circuits, progress=False)
    assert readout.logit_diff.std(axis=0).min() > 0.01  # the circuits matter
    setup.assert_equal(graph, circuits, readout)


def test_a_head_that_nothing_reads_is_in_the_scale_of_the_norm_after_the_attention(setups):
    setup = setups["gemma3"]
    graph = setup.graph()
    of_h0 = [name for name in graph.names if name.startswith("input->a1.h0") or name == "a1.h0->logits"]
    of_h1 = [name for name in graph.names if name.startswith("input->a1.h1")]
    circuits = np.stack([graph.circuit(names, "edges") for names in (of_h0, of_h0 + of_h1)])
    readout = setup.runner().run(circuits, progress=False)
    assert np.abs(readout.logit_diff[0] - readout.logit_diff[1]).max() > 1e-3
    setup.assert_equal(graph, circuits, readout)


def test_circuits_in_one_batch_do_not_change_each_other(setups):
    setup = setups["llama-gqa"]
    runner = setup.runner()
    circuits = random_circuits(runner.graph, [0.1, 0.5, 0.9])
    together = runner.run(circuits, progress=False).logit_diff
    alone = np.concatenate([runner.run(circuit[None], progress=False).logit_diff for circuit in circuits])
    assert together == pytest.approx(alone, abs=1e-5)
