"""Prompts of a few tokens, and the sizes of a model that does not exist, for tests that run no model."""

from __future__ import annotations

import torch

from ioi_lab.engine.buckets import Bucket
from ioi_lab.models.shape import ModelShape
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

SHAPE = ModelShape("toy", n_layers=4, n_heads=4, n_kv_heads=2, d_model=12, d_head=3, n_ctx=16)


def pair(clean, corrupted, s2=2, answer=1, distractor=2):
    labels = {"BOS": 0, "S2": s2, "END": len(clean) - 1}
    return PromptPair(
        "x", "y", (" a",), (" b",), tuple(clean), tuple(corrupted), (answer,), (distractor,), labels, ("",) * len(clean)
    )


PROMPTS = PromptPairs(
    [
        pair((0, 1, 2, 3, 4), (0, 1, 9, 3, 4), s2=2, answer=5, distractor=6),
        pair((0, 1, 2), (0, 9, 2), s2=1),
        pair((0, 5, 6, 7, 8), (0, 5, 6, 9, 8), s2=3, answer=7, distractor=0),
    ]
)
"""Prompts 0 and 2 have 5 tokens and differ from positions 2 and 3 on."""


def bucket(rows=(0, 2)):
    return Bucket(PROMPTS, list(rows), torch.device("cpu"))
