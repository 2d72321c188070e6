"""TransformerBridges: how the lab makes one of a Hugging Face model, and the sizes that one has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ioi_lab.models.positions import intended_length, position_limit
from ioi_lab.models.shape import ModelShape

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def bridge_of(plain: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> TransformerBridge:
    """Return a bridge on a Hugging Face model, with its device and type; TransformerLens changes both arguments."""
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(
        name, device=plain.device, dtype=plain.dtype, tokenizer=tokenizer, hf_model=plain
    )


def frozen(bridge: TransformerBridge) -> TransformerBridge:
    """Return a bridge after its parameters have been frozen."""
    bridge.eval()
    bridge.requires_grad_(False)
    for parameter in bridge.parameters():
        # TransformerLens splits joint q, k, v weights into strided views, which multiply at two thirds of the speed.
        parameter.data = parameter.data.contiguous()
    return bridge


def shape_of(bridge: TransformerBridge, name: str) -> ModelShape:
    """Return the sizes of a model."""
    sizes, plain = bridge.cfg, bridge.original_model
    return ModelShape(
        name=name,
        n_layers=sizes.n_layers,
        n_heads=sizes.n_heads,
        n_kv_heads=sizes.n_key_value_heads or sizes.n_heads,
        d_model=sizes.d_model,
        d_head=sizes.d_head,
        n_ctx=intended_length(plain, sizes.n_ctx),
        parallel=bool(sizes.parallel_attn_mlp),
        max_tokens=position_limit(plain, sizes.n_ctx),
    )
