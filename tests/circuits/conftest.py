"""Models with prompts: four kinds with two prompts of two lengths each, and tiny-gpt2 with four prompts."""

from __future__ import annotations

import pytest

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.prompts import PromptPairs
from tests.circuit_oracle import plain_model
from tests.circuits.setups import MODELS, Setup
from tests.conftest import hugging_face, ioi_task, model_config
from tests.odd_models import write_odd_model


@pytest.fixture(scope="session")
def setups(folders, tmp_path_factory) -> dict[str, Setup]:
    """Absolute positions, rotary in parallel, grouped queries, and norms on queries, keys and all outputs."""
    result = {}
    for name in MODELS:
        folder = folders[name] if name in folders else write_odd_model(name, tmp_path_factory.mktemp("odd"))
        model = load_model(model_config(folder))
        drawn = ioi_task(n=6, corruption="abc").prompt_pairs(model.tokens)
        prompts = PromptPairs([drawn[row] for rows in list(drawn.buckets().values())[:2] for row in rows[:2]])
        assert [len(rows) for rows in prompts.buckets().values()] == [2, 2]
        result[name] = Setup(model, plain_model(hugging_face(folder)), prompts, Engine(model, prompts))
    return result


@pytest.fixture(params=MODELS)
def setup(request, setups) -> Setup:
    return setups[request.param]


@pytest.fixture(scope="package")
def runner(folders) -> CircuitRunner:
    """Circuits of tiny-gpt2 on four prompts."""
    model = load_model(model_config(folders["tiny-gpt2"]))
    engine = Engine(model, ioi_task(n=4).prompt_pairs(model.tokens))
    return CircuitRunner(engine, Graph.of(model.shape))
