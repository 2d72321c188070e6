"""Circuits of tiny-gpt2, measured once for all tests."""

from __future__ import annotations

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.circuit.config import Circuit
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config


def circuit(**changes) -> Circuit:
    """An intervention of a few small circuits, with whatever else is given."""
    return Circuit.from_config({"sizes": [24, 0.2, 1]} | changes, "intervention")


@pytest.fixture(scope="package")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=16).prompt_pairs(model.tokens))


@pytest.fixture(scope="package")
def result(engine):
    return circuit(scores=["eap_ig_inputs", "eap"]).measure(engine)


@pytest.fixture(scope="package")
def by_acdc(engine):
    """What ACDC finds among the edges of one head, in two orders."""
    keys = {"search": "acdc", "tau": 3.0, "scores": "random", "orders": 2, "only": {"head": ["3.1"]}, "sizes": [1]}
    return circuit(**keys).measure(engine)
