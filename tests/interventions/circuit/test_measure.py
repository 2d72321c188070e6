"""The measurement of circuits against what the parts of the library give by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.finding import SearchSettings, find_circuits
from ioi_lab.circuits.runner import CircuitRunner, run_circuits
from ioi_lab.circuits.scores import SCORE_METHODS, ScoreSettings
from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit.setup import split_of
from tests.interventions.circuit.conftest import circuit


def faithfulness(engine, graph, circuits, ablation="corrupted"):
    """From the mean logit differences of the circuits, of all edges and of none."""
    ends = np.array([[True], [False]]).repeat(graph.n_edges, axis=1)
    means = run_circuits(engine, graph, np.concatenate([ends, circuits]), ablation).logit_diff.mean(axis=1)
    return (means[2:] - means[1]) / (means[0] - means[1])


def test_scores_are_of_the_prompts_of_discovery_and_circuits_of_those_of_evaluation(engine, result):
    on_discovery, on_evaluation, split = split_of(engine, result.keys)
    assert (split.discovery, split.evaluation) == (result.split.discovery, result.split.evaluation)
    runner = CircuitRunner(on_discovery, result.graph)
    scores = SCORE_METHODS["eap_ig_inputs"](runner, ScoreSettings())
    assert result.per_prompt == pytest.approx(scores, abs=1e-5)
    assert result.scores["eap_ig_inputs"].value == pytest.approx(scores.mean(axis=0), abs=1e-5)
    found = find_circuits(result.graph, scores.mean(axis=0), SearchSettings(sizes=(24, 0.2, 1)))
    assert (result.first.found.circuits == found.circuits).all()
    expected = faithfulness(on_evaluation, result.graph, found.circuits)
    assert result.first.curve.faithfulness.value == pytest.approx(expected, abs=1e-4)
    assert result.discovery_faithfulness == pytest.approx(
        faithfulness(on_discovery, result.graph, found.circuits), abs=1e-4
    )


def test_each_method_has_both_rankings_and_the_configured_one_comes_first(result):
    curves = [(curve.method, curve.ranking) for curve in result.curves]
    assert curves == [(method, ranking) for method in ("eap_ig_inputs", "eap") for ranking in ("absolute", "signed")]
    assert (result.first.method, result.first.ranking) == curves[0]


def test_the_smallest_circuit_that_is_faithful_on_discovery_is_kept(result):
    faithful = np.flatnonzero(result.discovery_faithfulness >= 0.85)
    assert result.chosen == faithful[0]
    assert (result.circuit == result.first.found.circuits[result.chosen]).all()


def test_random_circuits_have_the_sizes_of_the_first_curve(result):
    assert result.controls.uniform.shape == result.controls.matched.shape == (10, 3)
    assert result.controls.uniform[:, -1] == pytest.approx(1, abs=1e-4)
    assert np.median(result.controls.uniform[:, 0]) < 0.5 * result.first.curve.faithfulness.value[0] + 0.2


def test_a_size_that_was_asked_for_is_kept(engine):
    measured = circuit(scores="random", size=30, sizes=[1], eval_share=0, only={"layer": 3}).measure(engine)
    assert measured.first.found.asked[measured.chosen] == 30
    assert not measured.split.are_apart


def test_acdc_comes_first_with_a_circuit_for_each_order(by_acdc):
    measured = by_acdc
    assert measured.first.method == "acdc"
    assert measured.first.found.circuits.shape == (2, measured.graph.n_edges)
    assert not measured.first.is_nested
    assert [curve.method for curve in measured.curves[1:]] == ["random"] * 2
    assert len(measured.discovery_faithfulness) == 2


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (
            {"search": "threshold", "threshold": 1000.0},
            r"threshold: got 1000\.0, by which .* \(none is chosen\); expected a",
        ),
        ({"size": 1 / 479}, r"size: got 0\.002.* \(the 1 that are chosen do not connect the input to the logits\)"),
        ({"sizes": [2.0]}, r"sizes: got \[2\.0\], by which the circuit has no edges .*; expected a larger one"),
    ],
)
def test_a_circuit_without_edges_is_refused(engine, keys, error):
    with pytest.raises(LabError, match=f"^intervention\\.{error}"):
        circuit(scores="random", eval_share=0, **keys).measure(engine)


def test_given_edges_that_connect_nothing_are_refused(engine, tmp_path):
    (tmp_path / "mine.json").write_text('{"model": "mine", "edges": ["input->a0.h0<v>"]}')
    with pytest.raises(
        LabError, match=r"^intervention\.from_run: the edges in .* do not connect the input to the logits"
    ):
        circuit(from_run=str(tmp_path / "mine.json")).measure(engine)
