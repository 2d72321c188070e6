"""Two models to align, and texts that they read."""

from __future__ import annotations

import pytest

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import TinyEnglish
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import model_config


def alignment_config(**changes) -> AlignmentConfig:
    values = {
        "method": "ridge",
        "site": "resid_post",
        "source_layers": "all",
        "target_layers": "all",
        "positions": "all",
        "held_out": 0.2,
        "folds": 3,
        "rank": 8,
    }
    return AlignmentConfig.from_config(values | changes, "alignment")


def tiny_english(n: int = 200, seed: int = 0) -> TinyEnglish:
    return TinyEnglish(name="tiny_english", n=n, seed=seed)


@pytest.fixture
def both():
    """tiny-gpt2 and tiny-pythia."""
    return tuple(load_model(model_config(tiny_folder(name), name=name)) for name in ("tiny-gpt2", "tiny-pythia"))
