"""The peers, each in a process of its own: TransformerLens, and plain forward passes of the Hugging Face model.

They run in processes of their own because the engine tunes its process (memory allocation) and the lab its models (a
fused GELU), while peers are to run as they are installed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.grids import hook, plan
from ioi_lab.engine.edits import Site
from ioi_lab.models.shape import ModelShape

PEERS = ("TransformerLens", "full forward")


class Peer:
    """A peer's process: `time` runs some edits of a grid, one forward pass each."""

    def __init__(self, name: str, **setup: Any) -> None:
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, name, setup), daemon=True)
        self._process.start()

    def time(self, grid: str, indices: Sequence[int]) -> tuple[float, list[list[float]]]:
        """Return seconds per edit, and the logit differences `[edit][prompt]`."""
        self._pipe.send((grid, list(indices)))
        seconds, logit_diffs = self._pipe.recv()
        return seconds, logit_diffs

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def _serve(
    pipe: Connection,
    name: str,
    setup: dict[str, Any],
) -> None:
    runner = (_TransformerLens if name == "TransformerLens" else _FullForward)(**setup)
    while (request := pipe.recv()) is not None:
        grid, indices = request
        base, edit_sets = plan(grid, runner.shape, runner.length)
        runner.run(base, edit_sets[0][0])  # warm up
        start = time.perf_counter()
        logit_diffs = [runner.run(base, edit_sets[index][0]).tolist() for index in indices]
        pipe.send(((time.perf_counter() - start) / len(indices), logit_diffs))


class _Runner:
    """Prompts as tensors, and the metric: the logit difference of each prompt."""

    def __init__(
        self, folder: Path, device: str, dtype: str, shape: ModelShape, prompts: dict[str, list[Any]], threads: int
    ) -> None:
        torch.set_grad_enabled(False)
        torch.set_num_threads(threads)
        self.folder, self.device, self.dtype, self.shape = folder, device, getattr(torch, dtype), shape
        self.tokens = {run: torch.tensor(prompts[run], device=device) for run in ("clean", "corrupted")}
        self.answer, self.distractor = (torch.tensor(prompts[role], device=device) for role in ("answer", "distractor"))
        self.length = self.tokens["clean"].shape[1]
        self.load()

    def load(self) -> None: ...

    def logit_diff(self, logits: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(logits), device=self.device)
        return (logits[rows, -1, self.answer] - logits[rows, -1, self.distractor]).float()


class _TransformerLens(_Runner):
    """`run_with_hooks` once per edit: the loop of the functions of `transformer_lens.patching`."""

    def load(self) -> None:
        from transformer_lens.model_bridge import TransformerBridge

        self.model = TransformerBridge.boot_transformers(str(self.folder), device=self.device, dtype=self.dtype)
        sites = [Site(name, layer) for layer in range(self.shape.n_layers) for name in ("z", "resid_pre")]
        names = {site.hook for site in sites}
        _, cache = self.model.run_with_cache(self.tokens["clean"], names_filter=lambda name: name in names)
        self.cache = {name: cache[name] for name in names}

    def run(self, base: str, edit: Any) -> torch.Tensor:
        logits = self.model.run_with_hooks(self.tokens[base], fwd_hooks=[hook(edit, self.cache)])
        return self.logit_diff(logits)


class _FullForward(_Runner):
    """A plain Hugging Face forward pass per edit, without hooks: the least that brute force can cost."""

    def load(self) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=self.dtype).to(self.device).eval()

    def run(self, base: str, edit: Any) -> torch.Tensor:
        return self.logit_diff(self.model(self.tokens[base], use_cache=False).logits)
