"""Scores of edges by registered methods: exact ones against circuits that lack one edge, the others by identities."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.runner import run_circuits
from ioi_lab.circuits.scores import SCORE_METHODS, ScoreSettings, edge_scores, kept_by
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Readout

GRADIENTS = ("eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted")


@pytest.fixture(scope="module")
def exact(runner):
    return SCORE_METHODS["exact"](runner, ScoreSettings())


@pytest.mark.parametrize("objective", ["logit_diff", "kl"])
def test_exact_scores_are_what_the_whole_model_loses_without_the_edge(runner, exact, objective):
    scores = exact if objective == "logit_diff" else SCORE_METHODS["exact"](runner, ScoreSettings(objective))
    n_edges = runner.graph.n_edges
    assert scores.shape == (len(runner.engine.prompts), n_edges)
    edges = np.append(np.random.default_rng(0).choice(n_edges, 16, replace=False), np.argsort(scores.mean(axis=0))[-8:])
    circuits = np.ones((len(edges) + 1, n_edges), dtype=bool)
    circuits[np.arange(len(edges)), edges] = False
    readout = run_circuits(runner.engine, runner.graph, circuits)
    values = readout.logit_diff if objective == "logit_diff" else -readout.kl
    assert pytest.approx(values[-1] - values[:-1], abs=1e-4) == scores[:, edges].T
    assert np.abs(scores[:, edges]).max() > 1e-2


@pytest.mark.parametrize("method", GRADIENTS)
def test_estimates_are_near_the_exact_scores_of_edges_into_the_logits(runner, exact, method):
    """There, only the last norm is not linear."""
    estimated = SCORE_METHODS[method](runner, ScoreSettings())
    into_logits = runner.graph.edge_reader == len(runner.graph.readers) - 1
    found = np.corrcoef(estimated[:, into_logits].mean(axis=0), exact[:, into_logits].mean(axis=0))[0, 1]
    assert found > 0.9


def test_eap_finds_nothing_where_kl_has_its_minimum(runner):
    with pytest.raises(LabError, match=r"^intervention\.objective: got 'kl', whose gradient in the clean pass is zero"):
        SCORE_METHODS["eap"](runner, ScoreSettings("kl"))
    assert np.abs(SCORE_METHODS["eap_ig_inputs"](runner, ScoreSettings("kl"))).max() > 1e-3


def test_settings_reach_the_methods(runner):
    method = SCORE_METHODS["eap_ig_inputs"]
    one = method(runner, ScoreSettings(ig_steps=1))
    assert one == pytest.approx(SCORE_METHODS["eap"](runner, ScoreSettings()), abs=1e-5)  # k/m = 1: the clean prompt
    assert np.abs(one - method(runner, ScoreSettings(ig_steps=1, ig_rule="start"))).max() > 1e-3


def test_random_scores_are_those_of_the_seed_in_all_prompts(runner):
    method = SCORE_METHODS["random"]
    assert (edge_scores(runner, "random", ScoreSettings(seed=1)) == method(runner, ScoreSettings(seed=1))).all()
    assert (edge_scores(runner, "random") == method(runner, ScoreSettings())).all()
    first, again, other = (method(runner, ScoreSettings(seed=seed)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first == first[:1]).all()
    assert (first != other).any()


def test_kl_needs_all_probabilities():
    readout = Readout(np.ones((1, 2)))
    assert (kept_by(readout, "logit_diff") == 1).all()
    with pytest.raises(LabError, match=r"^engine\.readout: got 'logit_diff', but intervention\.objective=kl"):
        kept_by(readout, "kl")


def test_methods_are_registered_by_their_names(runner):
    for name in ("exact", "random", *GRADIENTS):
        assert SCORE_METHODS.check(name) == name
    with pytest.raises(LabError, match=r"^edge score: got 'eap_ig', expected 'exact', 'eap', "):
        edge_scores(runner, "eap_ig")
    with pytest.raises(ValueError, match="'eap_ig_inputs'"):
        SCORE_METHODS.check("eap_ig")
