"""Loaded models, the plain ones, and prompts of two lengths for the tests of the engine."""

from __future__ import annotations

import pytest

from ioi_lab.models.loading import load_model
from ioi_lab.tasks.prompts import PromptPairs
from tests.conftest import ARCHITECTURES, hugging_face, ioi_task, model_config


@pytest.fixture(scope="session")
def setups(folders):
    """For each architecture: the loaded model, the plain one, two prompts of each of two lengths."""
    result = {}
    for name in ARCHITECTURES:
        model = load_model(model_config(folders[name]))
        drawn = ioi_task(n=6, corruption="abc").prompt_pairs(model.tokens)
        prompts = PromptPairs([drawn[row] for rows in drawn.buckets().values() for row in rows[:2]])
        assert len(prompts.buckets()) > 1
        result[name] = model, hugging_face(folders[name]), prompts
    return result
