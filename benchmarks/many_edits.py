"""`python -m benchmarks.many_edits`: one run of 50,000 edits on a small random model: its time and its peak memory.

Activations of every head are patched one by one at each position, by `sweep.py` in a process of its own: measurement,
intervals, tables and figures included. The model is so small that whatever grows with the edits shows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Final

LAYERS: Final = 32
HEADS: Final = 32
TOKENS: Final = 49
"""Tokens of each prompt: with each layer and head, 50,176 edits."""

SENTENCE: Final = "Then,{before} {a} and {b} went to{after} the store. {b} gave a drink to"
TOKENS_AFTER: Final = 6
"""Filling tokens after the names. The others are in front of them, where an edit provably changes nothing."""


def main() -> None:
    """Parse the command line, write model and prompts, run, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_edits", description=__doc__)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="keep the model, the prompts and the run here")
    parser.add_argument("overrides", nargs="*", help="overrides of the run, such as engine.memory_gb=1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        model, prompts = write_model(folder / "model", options.layers), write_prompts(folder, options.prompts)
        started = time.perf_counter()
        command = [
            sys.executable, "sweep.py", "model=folder", f"model.path={model}", "task=pairs", f"task.path={prompts}",
            "intervention=patch", "intervention.position=each", "tracker=none", f"hydra.run.dir={folder / 'run'}",
        ]  # fmt: skip
        subprocess.run([*command, *options.overrides], check=True)
        seconds = time.perf_counter() - started
        size = sum(path.stat().st_size for path in (folder / "run").rglob("*") if path.is_file())
    usage = getrusage(RUSAGE_CHILDREN)
    print(
        f"{options.layers * HEADS * TOKENS:,} edits × {options.prompts} prompts: {seconds:.0f} s, "
        f"{usage.ru_utime + usage.ru_stime:.0f} s of CPU, peak memory {usage.ru_maxrss / 1024**2:.2f} GiB, "
        f"run folder {size / 1e6:.0f} MB"
    )


def write_model(folder: Path, layers: int) -> Path:
    """Write a GPT-2 of many small heads with random weights, and a packaged tokenizer; returns its folder."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    from ioi_lab.tiny import tiny_folder

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))
    torch.manual_seed(0)
    sizes = {"n_layer": layers, "n_head": HEADS, "n_embd": HEADS, "n_positions": 64}
    # Larger weights than at the start of training, so that edits change the logits by more than rounding.
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), initializer_range=0.3, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_prompts(folder: Path, count: int) -> Path:
    """Write prompt pairs of `TOKENS` tokens, BOS included, which differ in the first name; returns the CSV file."""
    from transformers import AutoTokenizer

    from ioi_lab.tasks.ioi_text import NAMES
    from ioi_lab.tiny import tiny_folder

    encode = AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")).encode
    rows = ["clean,corrupt,answer,distractor"]
    for index in range(count):
        a, b, c = NAMES[3 * index : 3 * index + 3]
        n_filling = TOKENS - 1 - len(encode(SENTENCE.format(a=a, b=b, before="", after="")))
        filling = {"before": " the" * (n_filling - TOKENS_AFTER), "after": " the" * TOKENS_AFTER}
        clean, corrupt = (SENTENCE.format(a=first, b=b, **filling) for first in (a, c))
        rows.append(f'"{clean}","{corrupt}"," {a}"," {b}"')
    path = folder / "prompts.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


if __name__ == "__main__":
    main()
