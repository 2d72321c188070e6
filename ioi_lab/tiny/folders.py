"""The folders of packaged models: they are written whole, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ioi_lab.errors import LabError
from ioi_lab.tiny import CIRCUIT_FILE

_FILES: Final = {
    "README.md",
    CIRCUIT_FILE,
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def check_folder(folder: Path) -> None:
    """Raise a `LabError` if a folder contains anything but a packaged model."""
    others = {path.name for path in folder.glob("*")} - _FILES
    if others:
        raise LabError(
            f"--out: {str(folder)!r} contains {min(others)!r}; expected a new folder or that of a tiny model"
        )


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new folder, which then takes the place of `folder`."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        new = Path(temporary) / folder.name
        write(new)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a packaged model and its tokenizer."""
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
