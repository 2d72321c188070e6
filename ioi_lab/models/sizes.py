"""The sizes in a model's config, checked against its weights and this machine before anything is allocated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ioi_lab.errors import LabError
from ioi_lab.models.folder_files import weights_in

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

_SIZES: Final = ("num_hidden_layers", "hidden_size", "vocab_size")
"""Keys of every config, under some name; they are positive integers."""

_OPTIONAL_SIZES: Final = (
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "max_position_embeddings",
)
"""Keys that some architectures do not have, or have as null."""

_MAX_LAYERS: Final = 10_000
"""No model has more layers; weights that are not safetensors do not say how many they have."""

_MAX_SHARE: Final = 16
"""A model that needs this many times the numbers in its weights has a wrong config."""


def check_sizes(config: PretrainedConfig, folder: Path, dtype: torch.dtype) -> None:
    """Raise a `LabError` for sizes that no weights of this folder can have, or that do not fit this machine."""
    file, text = str(folder / "config.json"), config.get_text_config()
    for key in (*_SIZES, *_OPTIONAL_SIZES):
        value = getattr(text, key, None)
        if value is None and key in _OPTIONAL_SIZES:
            continue
        if isinstance(value, list):  # by layer
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise LabError(f"model.path: {_name(text, key)} in {file!r} is {value!r}, expected a positive integer")
    weights = weights_in(folder)
    n_layers, most = text.num_hidden_layers, weights.n_tensors if weights else _MAX_LAYERS
    if n_layers > most:
        has = f"the weights have {most} tensors" if weights else f"no model has more than {most}"
        raise LabError(f"model.path: {_name(text, 'num_hidden_layers')} in {file!r} is {n_layers}, but {has}")
    _check_memory(config, file, dtype, weights.n_numbers if weights else None)


def _name(config: PretrainedConfig, key: str) -> str:
    """Return the name that an architecture has for a key."""
    return str(config.attribute_map.get(key, key))


def _check_memory(config: PretrainedConfig, file: str, dtype: torch.dtype, n_numbers: int | None) -> None:
    """Build the model without memory for its numbers, and compare what it needs."""
    import psutil
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config, dtype=dtype, attn_implementation="eager", trust_remote_code=False
            )
    except Exception:  # what is wrong is reported when the model is loaded
        return
    needed = sum(parameter.numel() for parameter in model.parameters())
    if n_numbers is not None and needed > _MAX_SHARE * n_numbers:
        raise LabError(
            f"model.path: the model of {file!r} has {needed:,} weights, but the weight files "
            f"have {n_numbers:,}; they do not belong together"
        )
    held = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    machine = psutil.virtual_memory().total
    if held > machine:
        raise LabError(
            f"model.path: the model of {file!r} needs {held / 1e9:,.1f} GB, but this machine has {machine / 1e9:,.1f}"
        )
