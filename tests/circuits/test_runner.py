"""Circuits over all prompts: identities, ablations, batches, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.circuits.runner import CircuitRunner, run_circuits
from ioi_lab.circuits.selection import pruned
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from tests.circuits.setups import random_circuits
from tests.conftest import model_config
from tests.oracle import edited_end_logits


def plain_logit_diff(setup, which):
    found = []
    for row, pair in enumerate(setup.prompts):
        logits = edited_end_logits(setup.plain.model, pair, row, [], which)
        found.append(float(logits[pair.answer_id] - logits[pair.distractor_id]))
    return np.array(found)


@pytest.mark.parametrize("shortcut", ["positions", "blocks", None])
@pytest.mark.parametrize("labels", [(), ("S2", "END")])
def test_all_edges_give_the_clean_pass_and_none_the_corrupted_one(setup, labels, shortcut):
    runner = setup.runner(labels)
    runner._shortcut = shortcut
    nothing, everything = np.zeros(runner.graph.n_edges, bool), np.ones(runner.graph.n_edges, bool)
    dead = everything.copy()  # the query of a head in layer 0 that is cut off: it is ablated, but every layer is run
    dead[[edge for edge, name in enumerate(runner.graph.names) if name.startswith("a0.h0->")]] = False
    live_query = dead.copy()
    dead[[edge for edge, name in enumerate(runner.graph.names) if "->a0.h0<q>" in name]] = False
    readout = runner.run(np.stack([everything, nothing, live_query, dead]), progress=False)
    assert readout.logit_diff[0] == pytest.approx(plain_logit_diff(setup, "clean"), abs=1e-4)
    assert readout.logit_diff[1] == pytest.approx(plain_logit_diff(setup, "corrupted"), abs=1e-4)
    assert np.abs(readout.kl[0]).max() < 1e-5
    if setup.model.shape.name != "gemma3":  # whose heads share a norm, so that none is dead
        assert readout.logit_diff[3] == pytest.approx(readout.logit_diff[2], abs=1e-5)


@pytest.mark.parametrize(
    ("name", "ablation"),
    [("tiny-gpt2", "mean"), ("tiny-pythia", "zero"), ("llama-gqa", "resample"), ("gemma3", "zero"), ("gemma3", "mean")],
)
def test_ablated_edges_carry_the_counterfactual(setups, name, ablation):
    setup = setups[name]
    graph = setup.graph()
    circuits = random_circuits(graph, [0.0, 0.2, 0.7])
    setup.assert_equal(graph, circuits, setup.runner((), ablation).run(circuits, progress=False), ablation)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-pythia", "llama-gqa"])
def test_pruning_edges_that_lead_nowhere_changes_nothing(setups, name):
    setup = setups[name]
    circuits = random_circuits(setup.graph(), [0.02, 0.05, 0.1, 0.2])
    kept = np.stack([pruned(setup.graph(), circuit) for circuit in circuits])
    assert (kept.sum(axis=1) < circuits.sum(axis=1)).all()
    both = setup.runner().run(np.concatenate([circuits, kept]), progress=False).logit_diff
    # An edge of a writer without inputs carries what it writes in the corrupted pass, kept or not.
    assert both[:4] == pytest.approx(both[4:], abs=1e-5)


def test_a_bound_on_memory_changes_no_result(setups):
    setup = setups["llama-gqa"]
    circuits = random_circuits(setup.graph(), [0.2, 0.5, 0.9] * 3)
    expected = setup.runner().run(circuits, progress=False)
    tight = CircuitRunner(Engine(setup.model, setup.prompts, 0.0005), setup.graph())
    buckets = list(tight.engine.budget.circuit_buckets(len(tight.graph.writers)))
    assert [len(bucket) for bucket in buckets] == [1, 1, 1, 1]
    assert tight.run(circuits, progress=False).logit_diff == pytest.approx(expected.logit_diff, abs=1e-5)


def test_logits_of_the_pair_alone_are_the_same(setups):
    setup = setups["tiny-pythia"]
    circuits = random_circuits(setup.graph(), [0.2, 0.8])
    readout = run_circuits(Engine(setup.model, setup.prompts, readout="logit_diff"), setup.graph(), circuits)
    assert readout.kl is None
    expected = setup.runner().run(circuits, progress=False).logit_diff
    assert readout.logit_diff == pytest.approx(expected, abs=1e-5)


def test_changes_are_clean_less_counterfactual(setups):
    setup = setups["tiny-pythia"]
    changes = setup.runner().changes([3, 0])
    for row, pair in enumerate(setup.prompts):
        clean, corrupted = setup.written(pair), setup.written(pair, "corrupted")
        for index, name in enumerate([setup.graph().writers[3].name, "input"]):
            torch.testing.assert_close(
                changes[index, row, : len(pair)], clean[name] - corrupted[name], atol=2e-5, rtol=0
            )
            assert not changes[index, row, len(pair) :].any()


def test_no_circuits_are_refused(setups):
    with pytest.raises(LabError, match="circuits: the list is empty"):
        setups["tiny-gpt2"].runner().run(np.zeros((0, 479), bool))


def test_a_position_that_prompts_do_not_have_is_refused(setups):
    with pytest.raises(LabError, match=r"^intervention\.positions: .*'S9'.*") as raised:
        setups["tiny-gpt2"].runner(("S9",))
    assert "\n" not in str(raised.value)


def test_too_little_memory_is_one_line(setups):
    setup = setups["tiny-gpt2"]
    runner = CircuitRunner(Engine(setup.model, setup.prompts, 1e-4), setup.graph())
    with pytest.raises(LabError, match=r"^engine.memory_gb: got 0.0001, but one circuit on one prompt of 1\d tokens"):
        runner.run(random_circuits(runner.graph, [0.5]), progress=False)


def test_low_precision_gives_nearly_the_same(setups, folders):
    setup = setups["llama-gqa"]
    model = load_model(model_config(folders["llama-gqa"], dtype="bfloat16"))
    circuits = random_circuits(setup.graph(), [2.0, 0.0, 0.5])
    expected = setup.runner().run(circuits, progress=False).logit_diff
    got = CircuitRunner(Engine(model, setup.prompts), setup.graph()).run(circuits, progress=False).logit_diff
    assert np.abs(got - expected).max() < 0.2 * np.abs(expected).max()
