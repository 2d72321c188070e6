"""A network with a planted circuit, and the tests of circuits in it, once for all tests of this package."""

from __future__ import annotations

import json

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.circuit_tests.config import CircuitTests
from ioi_lab.models.loading import load_model
from tests.circuits.validity.conftest import PLANTED
from tests.conftest import model_config
from tests.planted import plant, prompt_pairs

RIGHT = [*PLANTED, "input->a2.h3<q>", "input->a2.h3<v>"]
"""With the edges that carry the same in both prompts of a pair, which the induction head needs too."""

WRONG = ["input->a0.h2<v>", "a0.h2->a1.h0<k>", "a1.h0->m2", "m2->logits", "input->a1.h0<v>"]
"""As many edges, all on paths, through heads that do nothing."""


def keys(**changes):
    """The config of short tests."""
    values = {
        "scores": "eap", "controls": 20, "added_edges": 20, "resamples": 4, "random_sets": 3, "greedy_steps": 1,
    }  # fmt: skip
    return CircuitTests.from_config(values | changes, "intervention")


@pytest.fixture(scope="package")
def engine(tmp_path_factory):
    planted = plant(tmp_path_factory.mktemp("planted") / "network")
    model = load_model(model_config(planted.folder))
    return Engine(model, prompt_pairs(model.tokens, 16), readout="logit_diff")


@pytest.fixture(scope="package")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circuits")
    for name, edges in (("right", RIGHT), ("wrong", WRONG)):
        (folder / f"{name}.json").write_text(json.dumps({"model": "network", "edges": edges}))
    return {name: str(folder / f"{name}.json") for name in ("right", "wrong")}


@pytest.fixture(scope="package")
def right(engine, files):
    return keys(circuit=files["right"]).measure(engine)


@pytest.fixture(scope="package")
def wrong(engine, files):
    return keys(circuit=files["wrong"]).measure(engine)


@pytest.fixture(scope="package")
def found(engine):
    return keys(size=5, scores="exact").measure(engine)
