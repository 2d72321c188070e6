"""A small GGUF file with quantised weights, written by the gguf package."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

from ioi_lab.tiny import tiny_folder

N_LAYERS, N_HEADS, WIDTH, INNER = 2, 2, 32, 64


def write_gguf(
    file: Path, kind: GGMLQuantizationType = GGMLQuantizationType.Q4_1, declared: LlamaFileType | None = None
) -> Path:
    """Write a Llama with random weights of a type, norms in float32, and the tokenizer of a packaged model.

    `declared` is the type that the metadata names; None for none.
    """
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(N_LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_license("apache-2.0")
    if declared is not None:
        writer.add_file_type(declared)
    n_tokens = _add_tokenizer(writer)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (n_tokens, WIDTH), "output": (n_tokens, WIDTH)}
    for layer in range(N_LAYERS):
        block = f"blk.{layer}"
        shapes |= {f"{block}.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        shapes |= {f"{block}.ffn_{name}": (INNER, WIDTH) for name in ("gate", "up")}
        shapes[f"{block}.ffn_down"] = (WIDTH, INNER)
    for name, shape in shapes.items():
        values = rng.normal(scale=0.2, size=shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
    for name in ("output_norm", *(f"blk.{layer}.{norm}_norm" for layer in range(N_LAYERS) for norm in ("attn", "ffn"))):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: GGUFWriter) -> int:
    tokenizer = json.loads((tiny_folder("tiny-gpt2") / "tokenizer.json").read_text())["model"]
    tokens = sorted(tokenizer["vocab"], key=tokenizer["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(tokens) - 1))
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    return len(tokens)
