"""Hugging Face models and tokenizers as they are read from a folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_lab.errors import LabError
from ioi_lab.models.positions import forget_lengths
from ioi_lab.models.sizes import check_sizes

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


def read_folder(folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the Hugging Face model and tokenizer.

    Raises a `LabError` for sizes that no model has, and if tensors of the model are missing in the weights:
    Transformers would initialize them randomly.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    check_sizes(AutoConfig.from_pretrained(folder, trust_remote_code=False), folder, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", trust_remote_code=False, output_loading_info=True
    )
    absent = sorted(loading["missing_keys"])
    if absent:
        raise LabError(f"model.path: the weights in {str(folder)!r} lack {len(absent)} tensors, first {absent[0]!r}")
    unused = sorted(loading["unexpected_keys"])
    if unused:
        log.warning("model.path: %d tensors in %s have no place in the model, first %s", len(unused), folder, unused[0])
    prepare(model)
    return model, tokenizer


def prepare(model: PreTrainedModel) -> None:
    """Change a model, without changing what it computes, into one that TransformerLens and the engine can work with."""
    _fuse_gelu(model)
    _return_tuples(model)
    forget_lengths(model)


def _fuse_gelu(model: PreTrainedModel) -> None:
    """Replace GPT-2's tanh GELU by torch's own kernel: the same function up to rounding, in one pass over memory."""
    from torch import nn
    from transformers.activations import NewGELUActivation

    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def _return_tuples(model: PreTrainedModel) -> None:
    """Let blocks that return a list, as GPT-1's do, return a tuple: TransformerLens sees no stream in a list."""
    from torch import nn

    def as_tuple(module: object, arguments: object, output: object) -> object:
        return tuple(output) if isinstance(output, list) else output

    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.register_forward_hook(as_tuple)
