"""What the readers of a model read and its writers write, block by block, as found out in one pass over one prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from ioi_lab.engine.edits import Site
from ioi_lab.engine.overrides import overridden
from ioi_lab.errors import LabError
from ioi_lab.lenses.head_outputs import HeadOutputs

if TYPE_CHECKING:
    from ioi_lab.circuits.graph import Flags, Graph, ReaderInput
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel

Norm = Callable[[Tensor], Tensor]

_FIT: Final = 1e-3
"""The largest distance of what is computed here from what the model computes, as a share of its largest value."""

EMBEDDING: Final = Site("resid_pre", 0)


@dataclass(frozen=True, eq=False)
class Projection:
    """The linear map by which the heads of a layer make their queries, keys or values."""

    weight: Float[Tensor, "head d_head d_model"]
    bias: Float[Tensor, "head d_head"] | None

    @classmethod
    def of(cls, linear: nn.Linear, n_heads: int) -> Self:
        """Return the map of a linear module whose outputs are those of all heads, one after another."""
        bias = None if linear.bias is None else linear.bias.unflatten(0, (n_heads, -1))
        return cls(linear.weight.unflatten(0, (n_heads, -1)), bias)

    def __call__(self, normed: Float[Tensor, "*batch d_model"], heads: Sequence[int]) -> Float[Tensor, "*batch width"]:
        """Return what some heads make of one input, concatenated."""
        weight, bias = self.weight, self.bias
        if len(heads) < len(weight):
            weight, bias = weight[heads], None if bias is None else bias[heads]
        return functional.linear(normed, weight.flatten(0, 1), None if bias is None else bias.flatten())

    def pulled_back(self, gradient: Float[Tensor, "row pos width"]) -> Float[Tensor, "head row pos d_model"]:
        """Return each head's gradient at the input, given the gradient at the output of all heads."""
        return torch.einsum("bphe,hed->hbpd", gradient.unflatten(-1, (len(self.weight), -1)), self.weight)


@dataclass(frozen=True, eq=False)
class BlockWiring:
    """The norms and maps of one block."""

    attention_norm: Norm
    """From the residual stream to the input of queries, keys and values."""

    projections: dict[ReaderInput, Projection]
    mlp_norm: Norm
    mlp_is_plain: bool
    """Whether the MLP takes one activation and returns one, so that it can be run at some positions alone."""

    heads: HeadOutputs


@dataclass(frozen=True, eq=False)
class Wiring:
    """The blocks of a model whose residual stream is the sum of what its writers write, and of constants."""

    model: LabModel
    blocks: list[BlockWiring]
    positions: Float[Tensor, "pos d_model"] | None
    """Position embeddings that are added to the embedded tokens, up to the longest prompt: no part of `input`."""

    @classmethod
    def of(cls, engine: Engine) -> Self:
        """Find out the wiring of the engine's model, in a pass over the engine's longest prompt.

        Raises a `LabError` that says why if its residual stream is no such sum, or if readers read something else than
        a norm of it.
        """
        model = engine.model
        if not engine.stream_is_sum():
            _refuse(model, "its blocks do more than add to the residual stream (their norms follow the sums)")
        seen = _Seen.of(engine)
        blocks = [_block(model, layer, seen) for layer in range(model.shape.n_layers)]
        return cls(model, blocks, seen.positions)

    def feeds(self, graph: Graph) -> Bool[Flags, "reader writer"]:
        """Return whether what a reader reads changes what a writer writes: its own, or all that share a norm with it.

        If a norm follows the attention, pruning a head without later edges is therefore no longer exact.
        """
        feeds = graph.feeds.copy()
        layer_of_head = np.array([-1 if writer.head is None else writer.layer for writer in graph.writers])
        for index, reader in enumerate(graph.readers[:-1]):
            if reader.head is not None and self.blocks[reader.layer].heads.share_a_norm:
                feeds[index] = layer_of_head == reader.layer
        return feeds

    def constant(self, n_positions: int) -> Float[Tensor, "pos d_model"]:
        """Return what the stream before the first block has in addition to the embedded tokens."""
        if self.positions is None:
            return torch.zeros(n_positions, self.model.shape.d_model, device=self.model.device)
        return self.positions[:n_positions]


@dataclass(frozen=True, eq=False)
class _Seen:
    """One pass over one prompt: what goes into projections and MLPs, and the activations of sites."""

    read_by_attention: dict[int, Tensor]
    read_by_mlp: dict[int, Tensor]
    plain_mlps: set[int]
    activations: dict[Site, Tensor]
    positions: Float[Tensor, "pos d_model"] | None
    """The position embeddings, if they are added to the embedded tokens and nothing else is done to them."""

    @classmethod
    def of(cls, engine: Engine) -> Self:
        model = engine.model
        tokens = torch.tensor([max(engine.prompts, key=len).clean_tokens], device=model.device)
        attention: dict[int, Tensor] = {}
        mlp: dict[int, Tensor] = {}
        plain_mlps: set[int] = set()
        kept: dict[str, Tensor] = {}

        def keeping(name: str) -> tuple[str, Callable[..., None]]:
            def keep(activation: Tensor, hook: object) -> None:
                kept[name] = activation.clone()

            return name, keep

        layers = range(model.shape.n_layers)
        sites = [Site(each, layer) for layer in layers for each in ("resid_pre", "z", "attn_out", "mlp_out")]
        names = [site.hook for site in sites]
        embeddings = [name for name in ("embed.hook_out", "pos_embed.hook_out") if name in model.bridge.hook_dict]
        with ExitStack() as stack, torch.no_grad():
            for layer, block in enumerate(model.bridge.blocks):
                stack.enter_context(overridden(block.attn.q, _watched(block.attn.q.forward, attention, layer, set())))
                stack.enter_context(overridden(block.mlp, _watched(block.mlp.forward, mlp, layer, plain_mlps)))
            stack.enter_context(model.bridge.hooks(fwd_hooks=[keeping(name) for name in (*names, *embeddings)]))
            model.bridge(tokens)
        positions = kept.get("pos_embed.hook_out")
        if positions is not None:
            is_added = _close(kept["embed.hook_out"] + positions, kept[EMBEDDING.hook], model)
            positions = positions[0].float() if is_added else None
        return cls(attention, mlp, plain_mlps, {site: kept[site.hook] for site in sites}, positions)


def _watched(forward: Callable[..., Any], into: dict[int, Tensor], layer: int, plain: set[int]) -> Callable[..., Any]:
    """Return a forward function that keeps its input, and adds layers from one tensor to one tensor to `plain`."""

    def watch(activation: Tensor, *arguments: Any, **keywords: Any) -> Any:
        into[layer] = activation.clone()
        output = forward(activation, *arguments, **keywords)
        if isinstance(output, Tensor) and not arguments and not keywords:
            plain.add(layer)
        return output

    return watch


def _block(model: LabModel, layer: int, seen: _Seen) -> BlockWiring:
    block, shape = model.bridge.blocks[layer], model.shape
    stream, added = (seen.activations[Site(each, layer)] for each in ("resid_pre", "attn_out"))
    before_mlp = stream if shape.parallel else stream + added
    attention = block.attn
    projections: dict[ReaderInput, Projection] = {}
    for name in ("q", "k", "v"):
        linear = getattr(getattr(attention, name, None), "original_component", None)
        if not isinstance(linear, nn.Linear):
            _refuse(model, f"layer {layer} does not make its {name} by a linear map")
        projections[name] = Projection.of(linear, shape.heads(name))
    return BlockWiring(
        attention_norm=_norm(model, layer, ("ln1",), stream, seen.read_by_attention, "attention"),
        projections=projections,
        mlp_norm=_norm(model, layer, ("ln2", "ln1"), before_mlp, seen.read_by_mlp, "MLP"),
        mlp_is_plain=layer in seen.plain_mlps,
        heads=_head_outputs(model, layer, seen.activations),
    )


def _norm(
    model: LabModel, layer: int, names: tuple[str, ...], stream: Tensor, read: dict[int, Tensor], what: str
) -> Norm:
    """Return the norm through which a block's attention or MLP reads the stream; the identity if there is none."""
    block = model.bridge.blocks[layer]
    if layer in read:
        for name in names:
            norm: Norm | None = getattr(getattr(block, name, None), "original_component", None)
            if norm is not None and _close(norm(stream), read[layer], model):
                return norm
        if _close(stream, read[layer], model):
            return nn.Identity()
    return _refuse(model, f"the {what} of layer {layer} reads something else than a norm of the residual stream")


def _head_outputs(model: LabModel, layer: int, activations: dict[Site, Tensor]) -> HeadOutputs:
    z, added = activations[Site("z", layer)], activations[Site("attn_out", layer)]
    return HeadOutputs.of(model, layer, z, added, partial(_refuse, model))


def _close(values: Tensor, expected: Tensor, model: LabModel) -> bool:
    tolerance = max(_FIT, 10 * model.rounding)
    return bool((values.float() - expected.float()).abs().max() <= tolerance * expected.float().abs().max())


def _refuse(model: LabModel, reason: str) -> NoReturn:
    raise LabError(f"intervention: {model.shape.name} has no edges that could be ablated one by one: {reason}")
