"""Packaged models, small enough for a laptop without a network, and the scripts that make them.

All of `TINY_MODELS` do IOI, and tiny-llama does two more tasks; others have a circuit that is known (`PLANTED_MODELS`),
to check methods that find circuits.
`python -m ioi_lab.tiny train tiny-gpt2` trains one from scratch; `python -m ioi_lab.tiny score tiny-gpt2` scores it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

TINY_MODELS: Final = ("tiny-gpt2", "tiny-pythia", "tiny-llama")

HAND_SET: Final = "planted-induction"
"""The planted model whose weights are set by hand, not trained."""

PLANTED_MODELS: Final = (
    HAND_SET,
    "planted-plain",
    "planted-backup",
    "planted-negative",
    "planted-or",
    "planted-and",
)

PACKAGED_MODELS: Final = (*TINY_MODELS, *PLANTED_MODELS)

CIRCUIT_FILE: Final = "circuit.json"
"""The file in the folder of a planted model that lists its true edges."""


def tiny_folder(name: str) -> Path:
    """Return the Hugging Face folder of a packaged model."""
    return Path(__file__).parent / name


def true_edges(folder: Path) -> tuple[str, ...]:
    """Return the names of the edges of a planted model's circuit, from the model's folder."""
    return tuple(json.loads((folder / CIRCUIT_FILE).read_text())["edges"])
