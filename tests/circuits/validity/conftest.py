"""A network with a planted circuit, and the evaluation of circuits in it, once for all tests."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.validity.evaluation import Evaluation
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import load_model
from tests.conftest import model_config
from tests.planted import plant, prompt_pairs

PLANTED = ["input->a0.h1<v>", "a0.h1->a2.h3<k>", "a2.h3->logits"]
"""The edges that carry the difference between the two prompts of a pair: the previous token, to the induction head."""


@pytest.fixture(scope="package")
def engine(tmp_path_factory):
    planted = plant(tmp_path_factory.mktemp("planted") / "network")
    model = load_model(model_config(planted.folder))
    return Engine(model, prompt_pairs(model.tokens, 16), readout="logit_diff")


@pytest.fixture(scope="package")
def evaluation(engine):
    return Evaluation.of(CircuitRunner(engine, Graph.of(engine.shape)))


@pytest.fixture(scope="package")
def right(evaluation):
    return evaluation.graph.circuit(PLANTED, "test")


@pytest.fixture(scope="package")
def wrong(evaluation):
    """As many edges, connected, through heads that do nothing."""
    return evaluation.graph.circuit(["input->a1.h0<v>", "a1.h0->m2", "m2->logits"], "test")


@pytest.fixture(scope="package")
def everything(evaluation):
    return np.ones(evaluation.graph.n_edges, dtype=bool)


@pytest.fixture(scope="package")
def scores(evaluation, right):
    """Scores that are large for the edges that carry the difference."""
    return np.where(right, 1.0, 0.01)
