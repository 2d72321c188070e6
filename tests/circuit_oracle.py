"""Circuits on the plain Hugging Face model, by hand: one prompt, one reader at a time, every sum written out.

It shares nothing with `ioi_lab.circuits` but the names of edges. Of the model it uses weights, norms and MLPs, and
rotary angles; attention is written out. Nothing is in place, so that torch can differentiate it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

Keeps = Callable[[str, str], Tensor]
"""Given a writer and a reader: a weight of 1 for each position at which the edge is kept, 0 where it is ablated."""


@dataclass(frozen=True)
class Pass:
    """What one pass over one prompt gave."""

    logits: Tensor
    """`[vocab]`, at END."""

    written: dict[str, Tensor]
    """What each writer wrote, `[pos, d_model]`."""

    read: dict[str, Tensor]
    """What each reader read, `[pos, d_model]`, before its norm."""


class Plain:
    """A plain model as writers and readers; here, one of Llama's shape."""

    is_parallel = False

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.config = model, model.config
        self.n_layers, self.n_heads = self.config.num_hidden_layers, self.config.num_attention_heads
        self.n_kv_heads = getattr(self.config, "num_key_value_heads", self.n_heads)
        self.d_head = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.n_heads
        self.shared = self.n_heads // self.n_kv_heads
        self.blocks = self.find_blocks()

    def find_blocks(self) -> Any:
        return self.model.model.layers

    def embedded(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What the input writes, and what is added to it at each position whatever the token."""
        written = self.model.get_input_embeddings()(ids)
        return written, torch.zeros_like(written)

    def unembedded(self, stream: Tensor) -> Tensor:
        return self.model.lm_head(self.model.model.norm(stream))

    def norms(self, layer: int) -> tuple[Any, Any]:
        """The norms through which attention and MLP read."""
        return self.blocks[layer].input_layernorm, self.blocks[layer].post_attention_layernorm

    def projected(self, layer: int, name: str, head: int, normed: Tensor) -> Tensor:
        """The query, key or value of a head, given the output of the norm."""
        linear = getattr(self.blocks[layer].self_attn, f"{name}_proj")
        rows = slice(head * self.d_head, (head + 1) * self.d_head)
        bias = 0 if linear.bias is None else linear.bias[rows]
        return normed @ linear.weight[rows].T + bias

    def rotated(self, layer: int, x: Tensor) -> Tensor:
        """A query or key `[pos, d_head]` as it enters the scores."""
        return rotate(x, *(each[0] for each in self.model.model.rotary_emb(x, torch.arange(len(x))[None])))

    def scale(self) -> float:
        return float(self.d_head**-0.5)

    def window(self, layer: int) -> int:
        """How many positions a query sees, itself included."""
        return 10**9

    def head_output(self, layer: int, head: int, z: Tensor) -> Tensor:
        """What a head adds, before any norm that follows the attention."""
        return z @ self.blocks[layer].self_attn.o_proj.weight[:, head * self.d_head : (head + 1) * self.d_head].T

    def attention_bias(self, layer: int) -> Tensor:
        return torch.zeros(self.config.hidden_size)

    def after_attention(self, layer: int, heads: list[Tensor]) -> list[Tensor]:
        """What heads add to the stream, given all of the layer's outputs."""
        return heads

    def mlp(self, layer: int, normed: Tensor) -> Tensor:
        return self.blocks[layer].mlp(normed)

    def attended(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The z of one head."""
        scores = self.rotated(layer, q) @ self.rotated(layer, k).T * self.scale()
        distance = torch.arange(len(q))[:, None] - torch.arange(len(k))
        hidden = (distance < 0) | (distance >= self.window(layer))
        return scores.masked_fill(hidden, -torch.inf).softmax(dim=-1) @ v


class Gemma3(Plain):
    def norms(self, layer: int) -> tuple[Any, Any]:
        return self.blocks[layer].input_layernorm, self.blocks[layer].pre_feedforward_layernorm

    def is_sliding(self, layer: int) -> bool:
        return bool(self.config.layer_types[layer] == "sliding_attention")

    def attended(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attention = self.blocks[layer].self_attn
        return super().attended(layer, attention.q_norm(q), attention.k_norm(k), v)

    def rotated(self, layer: int, x: Tensor) -> Tensor:
        angles = self.model.model.rotary_emb(x, torch.arange(len(x))[None], self.config.layer_types[layer])
        return rotate(x, *(each[0] for each in angles))

    def scale(self) -> float:
        return float(self.config.query_pre_attn_scalar**-0.5)

    def window(self, layer: int) -> int:
        return int(self.config.sliding_window) if self.is_sliding(layer) else 10**9

    def after_attention(self, layer: int, heads: list[Tensor]) -> list[Tensor]:
        norm, total = self.blocks[layer].post_attention_layernorm, torch.stack(heads).sum(dim=0)
        scale = (total.square().mean(dim=-1, keepdim=True) + norm.eps).rsqrt()
        return [head * scale * (1 + norm.weight) for head in heads]

    def mlp(self, layer: int, normed: Tensor) -> Tensor:
        block = self.blocks[layer]
        return block.post_feedforward_layernorm(block.mlp(normed))


class GPT2(Plain):
    def find_blocks(self) -> Any:
        return self.model.transformer.h

    def embedded(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        body = self.model.transformer
        return body.wte(ids), body.wpe(torch.arange(len(ids)))

    def unembedded(self, stream: Tensor) -> Tensor:
        return self.model.lm_head(self.model.transformer.ln_f(stream))

    def norms(self, layer: int) -> tuple[Any, Any]:
        return self.blocks[layer].ln_1, self.blocks[layer].ln_2

    def projected(self, layer: int, name: str, head: int, normed: Tensor) -> Tensor:
        joint = self.blocks[layer].attn.c_attn  # queries of all heads, then keys, then values
        first = "qkv".index(name) * self.config.hidden_size + head * self.d_head
        columns = slice(first, first + self.d_head)
        return normed @ joint.weight[:, columns] + joint.bias[columns]

    def rotated(self, layer: int, x: Tensor) -> Tensor:
        return x

    def head_output(self, layer: int, head: int, z: Tensor) -> Tensor:
        return z @ self.blocks[layer].attn.c_proj.weight[head * self.d_head : (head + 1) * self.d_head]

    def attention_bias(self, layer: int) -> Tensor:
        return self.blocks[layer].attn.c_proj.bias


class NeoX(Plain):
    is_parallel = True

    def find_blocks(self) -> Any:
        assert self.config.use_parallel_residual
        return self.model.gpt_neox.layers

    def unembedded(self, stream: Tensor) -> Tensor:
        return self.model.get_output_embeddings()(self.model.gpt_neox.final_layer_norm(stream))

    def projected(self, layer: int, name: str, head: int, normed: Tensor) -> Tensor:
        joint = self.blocks[layer].attention.query_key_value  # query, key and value of a head, then of the next
        first = (3 * head + "qkv".index(name)) * self.d_head
        rows = slice(first, first + self.d_head)
        return normed @ joint.weight[rows].T + joint.bias[rows]

    def rotated(self, layer: int, x: Tensor) -> Tensor:
        cos, sin = (each[0] for each in self.model.gpt_neox.rotary_emb(x, torch.arange(len(x))[None]))
        n = cos.shape[-1]
        return torch.cat([rotate(x[:, :n], cos, sin), x[:, n:]], dim=-1)

    def head_output(self, layer: int, head: int, z: Tensor) -> Tensor:
        return z @ self.blocks[layer].attention.dense.weight[:, head * self.d_head : (head + 1) * self.d_head].T

    def attention_bias(self, layer: int) -> Tensor:
        return self.blocks[layer].attention.dense.bias


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[:, half:], x[:, :half]], dim=-1) * sin


def plain_model(model: PreTrainedModel) -> Plain:
    kinds: dict[str, type[Plain]] = {"gpt2": GPT2, "gpt_neox": NeoX, "llama": Plain, "gemma3_text": Gemma3}
    return kinds[model.config.model_type](model)


def everything(writer: str, reader: str) -> Tensor:
    """Keep all edges."""
    return torch.ones(1)


def kept_at(edges: Collection[str], labels: Mapping[str, int], length: int) -> Keeps:
    """Keep the named edges, whose names may end with `@` and a label, or `@rest` for all tokens without one."""

    def weights(writer: str, reader: str) -> Tensor:
        name = f"{writer}->{reader}"
        if not labels:
            return torch.tensor([float(name in edges)])
        at = dict.fromkeys(range(length), f"{name}@rest") | {
            position: f"{name}@{label}" for label, position in labels.items()
        }
        return torch.tensor([float(at[position] in edges) for position in range(length)])

    return weights


def passed(
    plain: Plain,
    ids: Tensor,
    keeps: Keeps = everything,
    instead: Mapping[str, Tensor] | None = None,
    given: Mapping[str, Tensor] | None = None,
    watch: bool = False,
) -> Pass:
    """Run one prompt.

    `instead`: what ablated edges carry, by writer. `given`: what some writers write, whatever they read. `watch`: keep
    gradients at what readers read.
    """
    first, constant = plain.embedded(ids)
    written: dict[str, Tensor] = {}
    read: dict[str, Tensor] = {}

    def write(name: str, value: Tensor) -> None:
        value = given[name] if given and name in given else value
        written[name] = value.requires_grad_() if watch and not value.requires_grad else value

    stacks: dict[int, tuple[Tensor, Tensor]] = {}

    def stream(reader: str, writers: Collection[str]) -> Tensor:
        if len(writers) not in stacks:
            ablated = instead if instead is not None else written
            stacks[len(writers)] = tuple(torch.stack([each[name] for name in writers]) for each in (written, ablated))
        live, ablated = stacks[len(writers)]
        kept = torch.stack([keeps(writer, reader) for writer in writers])[:, :, None]
        read[reader] = constant + (kept * live + (1 - kept) * ablated).sum(dim=0)
        if watch:
            read[reader].retain_grad()
        return read[reader]

    write("input", first)
    for layer in range(plain.n_layers):
        before = list(written)
        of_attention, of_mlp = plain.norms(layer)

        def made(name: str, head: int, before=before, layer=layer, norm=of_attention) -> Tensor:
            return plain.projected(layer, name, head, norm(stream(f"a{layer}.h{head}<{name}>", before)))

        q = [made("q", head) for head in range(plain.n_heads)]
        k, v = ([made(name, head) for head in range(plain.n_kv_heads)] for name in "kv")
        outputs = [
            plain.head_output(
                layer, head, plain.attended(layer, q[head], k[head // plain.shared], v[head // plain.shared])
            )
            for head in range(plain.n_heads)
        ]
        mlp = plain.mlp(layer, of_mlp(stream(f"m{layer}", before))) if plain.is_parallel else None
        for head, output in enumerate(plain.after_attention(layer, outputs)):
            write(f"a{layer}.h{head}", output)
        constant = constant + plain.attention_bias(layer)
        write(f"m{layer}", plain.mlp(layer, of_mlp(stream(f"m{layer}", list(written)))) if mlp is None else mlp)
    return Pass(plain.unembedded(stream("logits", list(written)))[-1], written, read)
