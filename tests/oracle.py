"""An independent oracle: one prompt, one full forward pass of the plain Hugging Face model, plain PyTorch hooks.

It shares nothing with the engine but the description of an edit: no TransformerBridge, no batching, no END-only
unembedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ioi_lab.edits import Edit, FromRun, Run, Site
from ioi_lab.tasks.prompts import PromptPair


@dataclass(frozen=True)
class Place:
    """Where an activation lives: the input or the output of a module."""

    module: nn.Module
    is_input: bool


def place(model: PreTrainedModel, site: Site) -> Place:
    kind = model.config.model_type
    blocks, attention, projection = {
        "gpt2": lambda: (model.transformer.h, "attn", "c_proj"),
        "gpt_neox": lambda: (model.gpt_neox.layers, "attention", "dense"),
        "llama": lambda: (model.model.layers, "self_attn", "o_proj"),
    }[kind]()
    block = blocks[site.layer]
    return {
        "resid_pre": Place(block, True),
        "resid_post": Place(block, False),
        "attn_out": Place(getattr(block, attention), False),
        "mlp_out": Place(block.mlp, False),
        "z": Place(getattr(getattr(block, attention), projection), True),
    }[site.component]


@torch.no_grad()
def edited_end_logits(model: PreTrainedModel, pair: PromptPair, row: int, edits: Sequence[Edit], base: Run) -> Tensor:
    """Logits `[vocab]` at END of the `base` run of `pair` (prompt number `row`) with the edits applied in order."""
    sources = [
        activation(model, _tokens(pair, edit.value.run), edit.site) if isinstance(edit.value, FromRun) else None
        for edit in edits
    ]
    with ExitStack() as hooks:
        for edit, source in zip(edits, sources, strict=True):
            hooks.enter_context(_changed(model, edit, pair, row, source))
        return model(_tokens(pair, base)).logits[0, -1]


@torch.no_grad()
def activation(model: PreTrainedModel, tokens: Tensor, site: Site) -> Tensor:
    """The whole activation `[pos, width]` of the site's module in a plain forward pass."""
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.clone())
        return x

    with _hooked(place(model, site), keep):
        model(tokens)
    return kept[0][0]


def _changed(model: PreTrainedModel, edit: Edit, pair: PromptPair, row: int, source: Tensor | None):
    def change(x: Tensor) -> Tensor:
        x = x.clone()
        width = x.shape[-1]
        columns = slice(0, width)
        if edit.site.head is not None:
            d_head = width // model.config.num_attention_heads
            columns = slice(edit.site.head * d_head, (edit.site.head + 1) * d_head)
        for position in _positions(edit.site, pair):
            old = x[0, position, columns]
            if edit.operation == "zero":
                new = torch.zeros_like(old)
            elif edit.operation == "scale":
                new = edit.scale * old
            else:
                if source is not None:
                    value = source[position, columns]
                else:
                    value = edit.value if edit.value.dim() == 1 else edit.value[row]
                new = value if edit.operation == "replace" else old + edit.scale * value
            x[0, position, columns] = new
        return x

    return _hooked(place(model, edit.site), change)


def _positions(site: Site, pair: PromptPair) -> list[int]:
    if site.position == "all":
        return list(range(len(pair.clean_tokens)))
    return [pair.labels[site.position] if isinstance(site.position, str) else site.position]


def _tokens(pair: PromptPair, run: Run) -> Tensor:
    return torch.tensor([pair.clean_tokens if run == "clean" else pair.corrupted_tokens])


def _hooked(where: Place, change):
    """A handle (a context manager) that replaces the module's first tensor, input or output, by `change` of it."""
    if where.is_input:

        def before(module, arguments, keywords):
            if arguments:
                return (change(arguments[0]), *arguments[1:]), keywords
            return arguments, {**keywords, "hidden_states": change(keywords["hidden_states"])}

        return where.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(module, arguments, output):
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    return where.module.register_forward_hook(after)
