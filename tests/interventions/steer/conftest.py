from __future__ import annotations

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.steer.config import Steer
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="package")
def result():
    """A vector that steers tiny-gpt2, measured in Python with the defaults of the config."""
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    engine = Engine(model, ioi_task(n=32).prompt_pairs(model.tokens))
    steering = Steer(contrast="name_pair", layer=[2, 3], scale=[0.5, -1.0, 0.0], side_effects=1, controls=6)
    return steering.measure(engine)
