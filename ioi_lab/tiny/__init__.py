"""Two packaged models that do IOI, small enough for a laptop without a network, and the script that trains them.

`python -m ioi_lab.tiny train tiny-gpt2` trains one from scratch; `python -m ioi_lab.tiny score tiny-gpt2` scores it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TINY_MODELS: Final = ("tiny-gpt2", "tiny-pythia")


def tiny_folder(name: str) -> Path:
    """Return the Hugging Face folder of a packaged model."""
    return Path(__file__).parent / name
