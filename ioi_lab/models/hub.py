"""Model folders: local ones, and snapshots of Hugging Face hub repositories."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError, folded

WITHOUT_HUB: Final = "model=folder model.path=DIR, model=smollm2-135m or model=tiny-gpt2"
"""Ways to get a model without the hub, for error messages."""

WEIGHT_FILES: Final = ("*.safetensors", "pytorch_model*.bin")

"""Patterns of weight files, the preferred format first."""

_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "vocab.json")

TEXT_FILES: Final = ("*.json", "*.txt", "*.model", "*.jinja")
"""Patterns of the files of a model's config and tokenizer."""


def check_model_folder(folder: Path) -> None:
    """Raise a `LabError` unless `folder` has the files of a Hugging Face model: config, weights and tokenizer."""
    if not folder.is_dir():
        raise LabError(
            f"model.path: {str(folder)!r} is not a folder; expected one with config.json, weights and tokenizer"
        )
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        missing.append(_TOKENIZERS[0])
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        missing.append("*.safetensors")
    if missing:
        raise LabError(f"model.path: {str(folder)!r} is not a Hugging Face model folder: it lacks {', '.join(missing)}")


def hub_folder(repository: str, revision: str | None) -> Path:
    """Return the cached snapshot of a hub repository, downloaded if necessary; weights as safetensors if it has any.

    Raises a `LabError` if it can neither be downloaded nor is cached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # not each retry: the result is reported below
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[*TEXT_FILES, WEIGHT_FILES[0]]))
        if not any(folder.glob(WEIGHT_FILES[0])):
            snapshot_download(repository, revision=revision, allow_patterns=[*TEXT_FILES, WEIGHT_FILES[1]])
    except (OSError, HFValidationError) as error:
        cause: BaseException = error
        while (inner := cause.__cause__ or cause.__context__) is not None:
            cause = inner
        reason = f"{type(cause).__name__}: {folded(cause)}"[:120]
        raise LabError(
            f"model.path: cannot get {repository!r} (revision {revision}) from the Hugging Face hub, and it is not "
            f"cached ({reason}); connect once to cache it, or use {WITHOUT_HUB}"
        ) from error
    check_model_folder(folder)
    return folder
