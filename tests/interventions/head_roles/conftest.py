"""Head roles of tiny-gpt2."""

from __future__ import annotations

import pytest

from ioi_lab.circuits.knockout import Knockout
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.head_roles.measure import measure_head_roles
from ioi_lab.lenses.roles import Thresholds
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="package")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=16).prompt_pairs(model.tokens))


@pytest.fixture(scope="package")
def result(engine):
    return measure_head_roles(
        engine, Thresholds(), n_sequences=8, n_controls=20, knockout=Knockout(engine, 4, 0), seed=0
    )
