from __future__ import annotations

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.steer.config import Steer
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="package")
def engine():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    return Engine(model, ioi_task(n=32).prompt_pairs(model.tokens))


@pytest.fixture(scope="package")
def result(engine):
    """A vector that steers tiny-gpt2, measured in Python with the defaults of the config."""
    steering = Steer(contrast="name_pair", layer=[2, 3], scale=[0.5, -1.0, 0.0], side_effects=1, controls=6)
    return steering.measure(engine)
