"""An independent oracle: one prompt, one full forward pass of the plain Hugging Face model, plain PyTorch hooks.

It shares nothing with the engine but the description of an edit: no TransformerBridge, no batching, no part of a pass.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ioi_lab.engine.edits import Edit, FromPass, Pass, Site
from ioi_lab.tasks.prompts import PromptPair

Change = Callable[[Tensor], Tensor]
"""A change of an activation `[pos, width]`."""


@dataclass(frozen=True)
class Names:
    blocks: Callable[[PreTrainedModel], nn.ModuleList]
    attention: str
    out_projection: str
    second_norm: str


NAMES = {
    "gpt2": Names(lambda model: model.transformer.h, "attn", "c_proj", "ln_2"),
    "gpt_neox": Names(lambda model: model.gpt_neox.layers, "attention", "dense", "post_attention_layernorm"),
    "llama": Names(lambda model: model.model.layers, "self_attn", "o_proj", "post_attention_layernorm"),
}


@torch.no_grad()
def edited_end_logits(model: PreTrainedModel, pair: PromptPair, row: int, edits: Sequence[Edit], base: Pass) -> Tensor:
    """Logits `[vocab]` at END of the `base` run of `pair` (prompt number `row`) with the edits applied in order."""
    sources = [
        activation(model, tokens(pair, edit.value.which), edit.site) if isinstance(edit.value, FromPass) else None
        for edit in edits
    ]
    changes: dict[Site, list[Change]] = defaultdict(list)
    for edit, source in zip(edits, sources, strict=True):
        changes[Site(edit.site.component, edit.site.layer)].append(change_of(model, edit, pair, row, source))
    with ExitStack() as stack:
        for site in sorted(changes, key=lambda site: (site.layer, site.stage)):
            stack.enter_context(changed(model, site, _in_turn(changes[site])))
        return model(tokens(pair, base)).logits[0, -1]


def _in_turn(changes: Sequence[Change]) -> Change:
    return lambda x: reduce(lambda value, change: change(value), changes, x)


@torch.no_grad()
def activation(model: PreTrainedModel, ids: Tensor, site: Site) -> Tensor:
    """The whole activation `[pos, width]` at the site's component and layer in a plain forward pass."""
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.clone())
        return x

    with changed(model, site, keep):
        model(ids)
    return kept[0]


def tokens(pair: PromptPair, run: Pass) -> Tensor:
    return torch.tensor([pair.clean_tokens if run == "clean" else pair.corrupted_tokens])


@contextmanager
def changed(model: PreTrainedModel, site: Site, change: Change) -> Iterator[None]:
    """Let the model run with the activation at the site's component and layer changed."""
    names = NAMES[model.config.model_type]
    block = names.blocks(model)[site.layer]
    attention = getattr(block, names.attention)
    if site.component == "pattern":
        with _changed_pattern(model, site.layer, change):
            yield
        return
    if site.component == "resid_mid":
        with _changed_middle(block, attention, getattr(block, names.second_norm), change):
            yield
        return
    handle = {
        "resid_pre": lambda: _on_input(block, change),
        "resid_post": lambda: _on_output(block, change),
        "attn_out": lambda: _on_output(attention, change),
        "mlp_out": lambda: _on_output(block.mlp, change),
        "z": lambda: _on_input(getattr(attention, names.out_projection), change),
        "q": lambda: _on_projection(model, attention, "q", change),
        "k": lambda: _on_projection(model, attention, "k", change),
        "v": lambda: _on_projection(model, attention, "v", change),
    }[site.component]()
    with handle:
        yield


def change_of(model: PreTrainedModel, edit: Edit, pair: PromptPair, row: int, source: Tensor | None) -> Change:
    def change(x: Tensor) -> Tensor:
        x = x.clone()
        columns = _columns(model, edit.site, x.shape[-1])
        for position in _positions(edit.site, pair):
            old = x[position, columns]
            if edit.operation == "zero":
                new = torch.zeros_like(old)
            elif edit.operation == "scale":
                new = edit.scale * old
            else:
                value = source[position, columns] if source is not None else _given(model, edit, row, position, len(x))
                new = value if edit.operation == "replace" else old + edit.scale * value
            x[position, columns] = new
        return x

    return change


def _given(model: PreTrainedModel, edit: Edit, row: int, position: int, length: int) -> Tensor:
    value = edit.value if edit.value.dim() == 1 else edit.value[row]
    value = value if value.dim() == 1 else value[position]
    if edit.site.component != "pattern":
        return value
    n_heads = 1 if edit.site.head is not None else model.config.num_attention_heads
    return value.view(n_heads, -1)[:, :length].flatten()  # a weight a key position of the longest prompt


def _columns(model: PreTrainedModel, site: Site, width: int) -> slice:
    if site.head is None:
        return slice(0, width)
    n_heads = model.config.num_attention_heads
    if site.component in ("k", "v"):
        n_heads = getattr(model.config, "num_key_value_heads", n_heads)
    size = width // n_heads
    return slice(site.head * size, (site.head + 1) * size)


def _positions(site: Site, pair: PromptPair) -> list[int]:
    if site.position == "all":
        return list(range(len(pair.clean_tokens)))
    index = pair.labels[site.position] if isinstance(site.position, str) else site.position
    return [index % len(pair.clean_tokens)]


def _on_input(module: nn.Module, change: Change):
    """A handle (a context manager) that changes the module's first tensor."""

    def before(module, arguments, keywords):
        if arguments:
            return (change(arguments[0][0])[None], *arguments[1:]), keywords
        return arguments, {**keywords, "hidden_states": change(keywords["hidden_states"][0])[None]}

    return module.register_forward_pre_hook(before, with_kwargs=True)


def _on_output(module: nn.Module, change: Change):
    def after(module, arguments, output):
        if isinstance(output, tuple):
            return (change(output[0][0])[None], *output[1:])
        return change(output[0])[None]

    return module.register_forward_hook(after)


def _on_projection(model: PreTrainedModel, attention: nn.Module, name: str, change: Change):
    """Change the queries, keys or values as they leave their projection, before any rotation."""
    kind = model.config.model_type
    if kind == "llama":
        return _on_output(getattr(attention, f"{name}_proj"), change)
    index = "qkv".index(name)
    n_heads = model.config.num_attention_heads

    def joint(x: Tensor) -> Tensor:
        """GPT-2 has q of all heads, then k, then v; NeoX q, k and v of a head, then of the next."""
        x = x.clone()
        three = x.view(len(x), 3, n_heads, -1) if kind == "gpt2" else x.view(len(x), n_heads, 3, -1).transpose(1, 2)
        three[:, index] = change(three[:, index].flatten(1)).view_as(three[:, index])
        return x

    return _on_output(attention.c_attn if kind == "gpt2" else attention.query_key_value, joint)


@contextmanager
def _changed_middle(block: nn.Module, attention: nn.Module, second_norm: nn.Module, change: Change) -> Iterator[None]:
    """The block's output, computed anew from a changed residual stream between attention and MLP."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Change:
        def change(x: Tensor) -> Tensor:
            seen[name] = x
            return x

        return change

    def after(module, arguments, output):
        middle = change(seen["input"] + seen["attention"])[None]
        result = middle + module.mlp(second_norm(middle))
        return (result, *output[1:]) if isinstance(output, tuple) else result

    with (
        _on_input(block, keep("input")),
        _on_output(attention, keep("attention")),
        block.register_forward_hook(after),
    ):
        yield


@contextmanager
def _changed_pattern(model: PreTrainedModel, layer: int, change: Change) -> Iterator[None]:
    """The model's eager attention, written out, with the weights of one layer changed."""
    code = sys.modules[type(model).__module__]
    former = code.eager_attention_forward

    def attend(module, query, key, value, attention_mask, **keywords):
        if module.layer_idx != layer:
            return former(module, query, key, value, attention_mask, **keywords)
        n_heads, length, d_head = query.shape[1:]
        key, value = (x.repeat_interleave(n_heads // x.shape[1], dim=1) for x in (key, value))
        scores = query @ key.mT / d_head**0.5
        future = torch.ones(length, length).triu(1).bool()
        weights = scores.masked_fill(future, -torch.inf).softmax(-1)
        by_position = weights[0].transpose(0, 1).flatten(1)  # [query pos, head · key pos]
        weights = change(by_position).view(length, n_heads, length).transpose(0, 1)[None]
        return (weights @ value).transpose(1, 2).contiguous(), weights

    code.eager_attention_forward = attend
    try:
        yield
    finally:
        code.eager_attention_forward = former
