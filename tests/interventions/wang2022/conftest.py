"""The paper's experiments on tiny-gpt2, once for all tests."""

from __future__ import annotations

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.wang2022.measure import measure_wang2022
from ioi_lab.lenses.roles import Thresholds
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="package")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=16, corruption="abc").prompt_pairs(model.tokens))


@pytest.fixture(scope="package")
def result(engine):
    return measure_wang2022(
        engine, Thresholds(), n_sequences=8, n_controls=20, n_reference=8, n_random=3, n_greedy=1, seed=0
    )
