"""Circuits of two kinds of IOI prompts in tiny-gpt2."""

from __future__ import annotations

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.cross_task.config import CrossTask
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="package")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=20, corruption="swap", seed=5).prompt_pairs(model.tokens))


@pytest.fixture(scope="package")
def intervention():
    return CrossTask(others=["ioi"], n=20, size=40, controls=10, ig_steps=2)


@pytest.fixture(scope="package")
def result(engine, intervention):
    return intervention.measure(engine)
