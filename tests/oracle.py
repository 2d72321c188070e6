"""An independent oracle: one prompt, one full forward pass of the plain Hugging Face model, plain PyTorch hooks.

It shares nothing with the engine but the description of an edit: no TransformerBridge, no batching, no part of a pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from ioi_lab.engine.edits import Edit, FromPass, Pass, Site
from ioi_lab.tasks.prompts import PromptPair

Change = Callable[[Tensor], Tensor]
"""A change of an activation `[pos, width]`."""


@dataclass(frozen=True)
class Names:
    """Where an architecture has its parts: paths from the model, from a block, or from its attention."""

    blocks: str
    attention: str
    """The module that makes queries, keys, values and patterns."""

    attention_out: str
    """The module whose output is what attention adds to the stream; layers without attention have others."""

    mlp_out: str = "mlp"
    z: str = "o_proj"
    """The projection in the attention whose input is `z`."""

    qkv: str | tuple[str, str, str] = ("q_proj", "k_proj", "v_proj")
    """The projections of queries, keys and values; or the joint one, followed by its order (see `_on_projection`)."""

    middle: str | None = None
    """The norm whose output is the stream before the MLP, if norms follow what is added to the stream."""

    mixers: tuple[str, ...] = ()
    """Modules that stand in place of the attention in some layers."""

    scale: str | None = None
    """The key of the config by which what attention and MLP make is multiplied before it is added."""


LLAMA = Names("model.layers", "self_attn", "self_attn")
POST_NORMS = replace(LLAMA, attention_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")
NEOX = Names("gpt_neox.layers", "attention", "attention", z="dense", qkv="query_key_value by head")
GPT2 = Names("transformer.h", "attn", "attn", z="c_proj", qkv="c_attn by kind")
NAMES = {
    "gpt2": GPT2,
    "gpt_neox": NEOX,
    "llama": LLAMA,
    "gptj": replace(LLAMA, blocks="transformer.h", attention="attn", attention_out="attn", z="out_proj"),
    "gpt_neo": replace(LLAMA, blocks="transformer.h", attention="attn.attention", attention_out="attn", z="out_proj"),
    "bloom": Names("transformer.h", "self_attention", "self_attention.dense", "mlp.dense_4h_to_h", "dense", NEOX.qkv),
    "opt": Names("model.decoder.layers", "self_attn", "self_attn", "fc2", "out_proj", middle="self_attn_layer_norm"),
    "mpt": Names("transformer.blocks", "attn", "attn", "ffn.down_proj", "out_proj", "Wqkv by kind"),
    "bert": Names(
        "bert.encoder.layer",
        "attention.self",
        "attention.output.dense",
        "output.dense",
        "attention.output.dense",
        ("query", "key", "value"),
        middle="attention.output",
    ),
    "openai-gpt": replace(GPT2, middle="ln_1"),
    "granite": replace(LLAMA, scale="residual_multiplier"),
    "jamba": replace(LLAMA, mlp_out="feed_forward", mixers=("mamba",)),
    **dict.fromkeys(("gemma2", "gemma3_text", "olmo2"), POST_NORMS),
    "glm4": replace(LLAMA, attention_out="post_self_attn_layernorm", mlp_out="post_mlp_layernorm"),
    **dict.fromkeys(("mixtral", "qwen3", "cohere", "gpt_oss", "deepseek_v3"), LLAMA),
}
"""By `model_type`."""


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
        logits: Tensor = model(tokens(pair, base)).logits
    return logits[0, -1]


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


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    blocks = model.get_submodule(NAMES[model.config.model_type].blocks)
    assert isinstance(blocks, nn.ModuleList)
    return blocks


@contextmanager
def changed(model: PreTrainedModel, site: Site, change: Change) -> Iterator[None]:
    """Let the model run with the activation at the site's component and layer changed."""
    names = NAMES[model.config.model_type]
    block = blocks_of(model)[site.layer]
    if site.component == "pattern":
        with _changed_pattern(block.get_submodule(names.attention), change):
            yield
        return
    if site.component == "resid_mid":
        with _changed_middle(model, block, names, change):
            yield
        return
    handle = {
        "resid_pre": lambda: _on_input(block, change),
        "resid_post": lambda: _on_output(block, change),
        "attn_out": lambda: _on_output(_mixer(block, names), _scaled(model, names, change)),
        "mlp_out": lambda: _on_output(block.get_submodule(names.mlp_out), _scaled(model, names, change)),
        "z": lambda: _on_input(_of_attention(block, names, names.z), change),
        "q": lambda: _on_projection(model, block, names, "q", change),
        "k": lambda: _on_projection(model, block, names, "k", change),
        "v": lambda: _on_projection(model, block, names, "v", change),
    }[site.component]()
    with handle:
        yield


def _of_attention(block: nn.Module, names: Names, name: str) -> nn.Module:
    attention = block.get_submodule(names.attention)
    try:
        return attention.get_submodule(name)
    except AttributeError:  # BERT's output projection stands apart
        return block.get_submodule(name)


def _mixer(block: nn.Module, names: Names) -> nn.Module:
    """The module that adds to the stream before the MLP: attention, or what stands in its place in this layer."""
    found = next(name for name in (names.attention_out, *names.mixers) if hasattr(block, name.split(".")[0]))
    return block.get_submodule(found)


def _scaled(model: PreTrainedModel, names: Names, change: Change) -> Change:
    """Apply a change to what is added to the stream, given that of the module's output."""
    scale = getattr(model.config, names.scale) if names.scale else 1.0
    return lambda x: change(x * scale) / scale


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
    assert isinstance(edit.value, Tensor)
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


def _on_input(module: nn.Module, change: Change) -> RemovableHandle:
    """A handle (a context manager) that changes the module's first tensor."""

    def before(module: nn.Module, arguments: Any, keywords: Any) -> Any:
        if arguments:
            return (change(arguments[0][0])[None], *arguments[1:]), keywords
        return arguments, {**keywords, "hidden_states": change(keywords["hidden_states"][0])[None]}

    return module.register_forward_pre_hook(before, with_kwargs=True)


def _on_output(module: nn.Module, change: Change) -> RemovableHandle:
    def after(module: nn.Module, arguments: Any, output: Any) -> Any:
        if isinstance(output, Tensor) and output.dim() == 2:  # OPT's MLP has prompts and positions on one axis
            return change(output)
        if isinstance(output, tuple | list):
            return type(output)([change(output[0][0])[None], *output[1:]])
        return change(output[0])[None]

    return module.register_forward_hook(after)


def _on_projection(
    model: PreTrainedModel, block: nn.Module, names: Names, name: str, change: Change
) -> RemovableHandle:
    """Change the queries, keys or values as they leave their projection, before any norm and rotation."""
    index = "qkv".index(name)
    if not isinstance(names.qkv, str):
        return _on_output(_of_attention(block, names, names.qkv[index]), change)
    projection, order = names.qkv.split(" ", 1)
    n_heads = model.config.num_attention_heads

    def joint(x: Tensor) -> Tensor:
        """`by kind`: q of all heads, then k, then v. `by head`: q, k and v of a head, then of the next."""
        x = x.clone()
        by_kind = order == "by kind"
        three = x.view(len(x), 3, n_heads, -1) if by_kind else x.view(len(x), n_heads, 3, -1).transpose(1, 2)
        three[:, index] = change(three[:, index].flatten(1)).view_as(three[:, index])
        return x

    return _on_output(_of_attention(block, names, projection), joint)


@contextmanager
def _changed_middle(model: PreTrainedModel, block: nn.Module, names: Names, change: Change) -> Iterator[None]:
    """Change the stream between attention and MLP: what attention adds is changed by as much."""
    if names.middle is not None:
        with _on_output(block.get_submodule(names.middle), change):
            yield
        return
    seen: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        seen[:] = [x]
        return x

    def instead(added: Tensor) -> Tensor:
        return change(seen[0] + added) - seen[0]

    with _on_input(block, keep), _on_output(_mixer(block, names), _scaled(model, names, instead)):
        yield


class _Softmax(TorchFunctionMode):
    """Changes the result of every softmax over key positions, `[1, head, query pos, key pos]`, while it is active."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change = change
        self.active = False

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = function(*arguments, **keywords or {})
        if not self.active or function not in (torch.softmax, torch.nn.functional.softmax, Tensor.softmax):
            return result
        n_heads, length = result.shape[-3], result.shape[-2]
        self.active = False  # what the change computes is not attention
        by_position = result[0, :, :, :length].transpose(0, 1).flatten(1)  # gpt-oss has a sink after the keys
        weights = self._change(by_position).view(length, n_heads, length).transpose(0, 1)[None]
        self.active = True
        return torch.cat([weights, result[..., length:]], dim=-1)


@contextmanager
def _changed_pattern(attention: nn.Module, change: Change) -> Iterator[None]:
    """The model's own attention with other weights: its softmax is intercepted while this attention runs."""
    mode = _Softmax(change)

    def switch(active: bool) -> Callable[..., None]:
        def hook(*_: object) -> None:
            mode.active = active

        return hook

    with mode, attention.register_forward_pre_hook(switch(True)), attention.register_forward_hook(switch(False)):
        yield
