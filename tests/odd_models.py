"""Tiny random models of unusual architectures, with the tokenizer of tiny-gpt2: what few people try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ioi_lab.tiny import tiny_folder

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
GPT2_SIZES: dict[str, Any] = {
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "initializer_range": 0.2,
}
MOE = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROPE = {"rope_theta": 10000.0}

ODD_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gptj": ("GPTJForCausalLM", GPT2_SIZES | {"rotary_dim": 4}),
    "gptneo": (
        "GPTNeoForCausalLM",
        {"hidden_size": 32, "num_layers": 4, "num_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64,
         "initializer_range": 0.2, "attention_types": [[["global", "local"], 2]], "window_size": 8},
    ),
    "neox-sequential": ("GPTNeoXForCausalLM", SIZES | {"use_parallel_residual": False}),
    "bloom": ("BloomForCausalLM", {"hidden_size": 32, "n_layer": 3, "n_head": 4, "initializer_range": 0.2}),
    "opt-post": (
        "OPTForCausalLM",
        {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 64, "init_std": 0.2,
         "max_position_embeddings": 64, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "llama-dynamic": (
        "LlamaForCausalLM",
        GROUPED
        | {"max_position_embeddings": 12, "rope_parameters": ROPE | {"rope_type": "dynamic", "factor": 4.0}},
    ),
    "mixtral": ("MixtralForCausalLM", GROUPED | MOE | {"sliding_window": None}),
    "qwen3": ("Qwen3ForCausalLM", GROUPED | {"head_dim": 8}),
    "gemma2": (
        "Gemma2ForCausalLM",
        GROUPED
        | {"head_dim": 16, "sliding_window": 6, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0,
           "query_pre_attn_scalar": 16},
    ),
    "gemma3": ("Gemma3ForCausalLM", GROUPED | {"head_dim": 16, "sliding_window": 6, "query_pre_attn_scalar": 16}),
    "cohere": ("CohereForCausalLM", GROUPED | {"logit_scale": 0.0625, "use_qk_norm": False}),
    "olmo2": ("Olmo2ForCausalLM", GROUPED),
    "glm4": ("Glm4ForCausalLM", GROUPED | {"head_dim": 8}),
    "granite": (
        "GraniteForCausalLM",
        GROUPED
        | {"embedding_multiplier": 12.0, "logits_scaling": 8.0, "residual_multiplier": 0.22, "initializer_range": 0.5,
           "attention_multiplier": 0.25},
    ),
    "mpt": (
        "MptForCausalLM",
        {"d_model": 32, "n_heads": 4, "n_layers": 3, "expansion_ratio": 2, "max_seq_len": 64,
         "initializer_range": 0.2},
    ),
    "gptoss": (
        "GptOssForCausalLM",
        GROUPED | MOE | {"head_dim": 8, "sliding_window": 6, "rope_parameters": ROPE | {"rope_type": "default"}},
    ),
    "openai-gpt": ("OpenAIGPTLMHeadModel", GPT2_SIZES | {"initializer_range": 0.5}),
    "deepseek-v3": (
        "DeepseekV3ForCausalLM",
        SIZES
        | {"num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 16, "qk_rope_head_dim": 4,
           "qk_nope_head_dim": 4, "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2,
           "moe_intermediate_size": 16, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
           "first_k_dense_replace": 1},
    ),
    "jamba": (
        "JambaForCausalLM",
        GROUPED
        | {"num_hidden_layers": 4, "num_experts": 2, "num_experts_per_tok": 1, "mamba_d_state": 4, "mamba_dt_rank": 4,
           "attn_layer_period": 2, "attn_layer_offset": 1},
    ),
    "bert-decoder": ("BertLMHeadModel", SIZES | {"is_decoder": True}),
}  # fmt: skip
"""By name: the class of the model, and its config. All sizes are tiny, and weights are large enough to matter."""


def odd_model(name: str, **changes: Any) -> PreTrainedModel:
    """The random model with this name, with some keys of its config changed."""
    class_name, sizes = ODD_MODELS[name]
    model_class = getattr(transformers, class_name)
    config = model_class.config_class(
        **sizes | {"vocab_size": len(tokenizer()), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None} | changes
    )
    torch.manual_seed(0)
    model: PreTrainedModel = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases start at values that hide mistakes
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))


def write_odd_model(name: str, folder: Path, **changes: Any) -> Path:
    """Write the model with this name, as a user's folder would be, and return the folder."""
    odd_model(name, **changes).save_pretrained(folder / name)
    tokenizer().save_pretrained(folder / name)
    return folder / name
