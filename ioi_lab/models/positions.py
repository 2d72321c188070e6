"""How many tokens a model reads: only tables with a row per position limit it, rotary angles and ALiBi do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def position_limit(model: PreTrainedModel, n_ctx: int) -> int | None:
    """Return the largest number of tokens that a model of context length `n_ctx` can read; None without a limit.

    It is `n_ctx` if the model has a table with that many rows, of learned positions (GPT-2, OPT), of angles (GPT-J) or
    of masks; MPT makes one of `max_seq_len` rows in each pass. Rotary angles and ALiBi are computed for any position.
    """
    from torch import nn

    tokens = model.get_input_embeddings()
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding) and module is not tokens]
    rows = {module.num_embeddings - _position_offset(module) for module in embeddings}
    rows |= {size for buffer in model.buffers() if buffer.dim() > 1 for size in buffer.shape}
    return n_ctx if n_ctx in rows or hasattr(model.config, "max_seq_len") else None


def intended_length(model: PreTrainedModel, n_ctx: int) -> int:
    """Return the number of tokens that a model is made for: dynamic rotary scaling stretches its context length."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    return int(n_ctx * rope.get("factor", 1.0)) if rope.get("rope_type") == "dynamic" else n_ctx


def forget_lengths(model: PreTrainedModel) -> None:
    """Let dynamic rotary scaling depend on the prompt at hand alone.

    Transformers keeps the frequencies of the longest prompt so far, so that results would depend on the prompts before.
    """
    for module in model.modules():
        if "dynamic" in _rope_types(module).values():
            module.register_forward_pre_hook(_restore_frequencies)


def _position_offset(embedding: nn.Embedding) -> int:
    """Return the number of rows before that of the first position: OPT and its kin have two."""
    return int(getattr(embedding, "offset", 0))


def _rope_types(module: nn.Module) -> dict[str, Any]:
    """Return the kinds of rotary scaling of a module, by the prefix of its buffers (a kind per type of layer)."""
    kinds = getattr(module, "rope_type", None)
    return {f"{name}_": kind for name, kind in kinds.items()} if isinstance(kinds, dict) else {"": kinds}


def _restore_frequencies(module: Any, _: object) -> None:
    for prefix, kind in _rope_types(module).items():
        if kind == "dynamic":
            frequencies = getattr(module, f"{prefix}inv_freq")
            original = getattr(module, f"{prefix}original_inv_freq").to(frequencies.device)
            module.register_buffer(f"{prefix}inv_freq", original, persistent=False)
            setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)
