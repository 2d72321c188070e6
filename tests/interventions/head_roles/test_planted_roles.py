"""Exactly the planted heads of a hand-set network have roles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ioi_lab.circuits.knockout import Knockout
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.head_roles.measure import measure_head_roles
from ioi_lab.lenses.roles import Thresholds
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.prompts import PromptPairs
from tests.conftest import model_config
from tests.planted import plant, prompt_pairs


@pytest.mark.parametrize(
    "circuit", [{}, {"previous_token": (1, 0), "induction": (2, 0)}, {"noise": 0.0}, {"seed": 1, "induction": (1, 1)}]
)
def test_exactly_the_planted_heads_have_their_roles(tmp_path, circuit):
    """In `… A B … C D … A`, A is named twice, as S is, and C once, as the IO is."""
    planted = plant(tmp_path / "network", **circuit)
    model = load_model(model_config(planted.folder))
    pairs = [
        replace(pair, labels={"IO": pair.labels["C"], "S1": pair.labels["A"], "S1+1": pair.labels["B"],
                              "S2": pair.labels["END"], "END": pair.labels["END"]})
        for pair in prompt_pairs(model.tokens, 24)
    ]  # fmt: skip
    engine = Engine(model, PromptPairs(pairs))
    result = measure_head_roles(
        engine, Thresholds(), n_sequences=8, n_controls=20, knockout=Knockout(engine, 2, 0), seed=0
    )
    given = {role: heads for role, heads in result.roles.items() if heads}
    assert given == {"previous token": [planted.previous_token], "induction": [planted.induction]}
