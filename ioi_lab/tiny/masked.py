"""A pass of a GPT-2 network in which only some edges carry the prompt: what planted circuits are trained in.

Every other edge carries what its writer puts out in the plain pass of a counterfactual prompt of the same length. The
pass is differentiable, written for GPT-2's shape alone and independent of `ioi_lab.circuits`, whose test it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, Literal

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel

INPUT: Final = "input"
LOGITS: Final = "logits"


def edges_of(network: GPT2LMHeadModel) -> list[str]:
    """Return the names of all edges of a network."""
    writers, edges = [INPUT], []
    heads = range(network.config.n_head)
    for layer in range(network.config.n_layer):
        edges += [f"{u}->a{layer}.h{head}<{x}>" for x in "qkv" for head in heads for u in writers]
        writers += [f"a{layer}.h{head}" for head in heads]
        edges += [f"{u}->m{layer}" for u in writers]
        writers.append(f"m{layer}")
    return edges + [f"{u}->{LOGITS}" for u in writers]


def plain_outputs(network: GPT2LMHeadModel, tokens: Tensor) -> dict[str, Tensor]:
    """Return what each writer puts out in the plain pass of Hugging Face's own code, each `[batch, pos, d_model]`.

    Args:
        network: The network.
        tokens: Token ids `[batch, pos]`.

    """
    outputs: dict[str, Tensor] = {}

    def keep_heads(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            z = _by_head(network, arguments[0])
            for head, weight in enumerate(_output_weights(network, layer)):
                outputs[f"a{layer}.h{head}"] = z[head] @ weight

        return hook

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [network.transformer.wte.register_forward_hook(keep(INPUT))]
    for layer, block in enumerate(network.transformer.h):
        handles.append(block.attn.c_proj.register_forward_pre_hook(keep_heads(layer)))
        handles.append(block.mlp.register_forward_hook(keep(f"m{layer}")))
    try:
        network.transformer(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def circuit_logits(
    network: GPT2LMHeadModel,
    tokens: Tensor,
    circuit: Collection[str],
    counterfactual: Mapping[str, Tensor],
    end: Tensor | Literal[-1] = -1,
) -> Tensor:
    """Return the logits `[batch, vocab]` at END of the pass in which only the edges of a circuit carry the prompt.

    Args:
        network: The network.
        tokens: Token ids of the prompts, `[batch, pos]`.
        circuit: The names of the circuit's edges.
        counterfactual: The `plain_outputs` of the counterfactual prompts.
        end: The position of END in each prompt, `[batch]`; -1: the last.

    """
    circuit = frozenset(circuit)
    readers = {edge.partition("->")[2] for edge in circuit}
    gpt2, config = network.transformer, network.config
    outputs = {INPUT: gpt2.wte(tokens)}
    fixed = gpt2.wpe.weight[: tokens.shape[1]]  # position embeddings and biases are no edges

    def read(reader: str, written: Mapping[str, Tensor]) -> Tensor:
        live = [u for u in written if f"{u}->{reader}" in circuit]
        return sum((written[u] - counterfactual[u] for u in live), start=streams + fixed)

    streams = counterfactual[INPUT]
    for layer, block in enumerate(gpt2.h):
        before = dict(outputs)
        weights, biases = _input_weights(network, layer)
        for head, output_weight in enumerate(_output_weights(network, layer)):
            name = f"a{layer}.h{head}"
            inputs = [f"{name}<{x}>" for x in "qkv"]
            if readers.isdisjoint(inputs):
                outputs[name] = counterfactual[name]  # as it reads nothing else
                continue
            q, k, v = (
                block.ln_1(read(reader, before)) @ weights[index][head] + biases[index][head]
                for index, reader in enumerate(inputs)
            )
            z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            outputs[name] = z @ output_weight
        streams = streams + sum(counterfactual[f"a{layer}.h{head}"] for head in range(config.n_head))
        fixed = fixed + block.attn.c_proj.bias
        name = f"m{layer}"
        outputs[name] = block.mlp(block.ln_2(read(name, outputs))) if name in readers else counterfactual[name]
        streams = streams + counterfactual[name]
    stream = read(LOGITS, outputs)
    logits: Tensor = network.lm_head(gpt2.ln_f(stream[torch.arange(len(tokens)), end]))
    return logits


def _by_head(network: GPT2LMHeadModel, joint: Tensor) -> list[Tensor]:
    """Return the part of each head, each `[…, d_head]`."""
    return list(joint.split(network.config.n_embd // network.config.n_head, dim=-1))


def _output_weights(network: GPT2LMHeadModel, layer: int) -> list[Tensor]:
    """Return W_O of each head, each `[d_head, d_model]`."""
    return list(network.transformer.h[layer].attn.c_proj.weight.chunk(network.config.n_head))


def _input_weights(network: GPT2LMHeadModel, layer: int) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Return W_Q, W_K and W_V of each head, each `[d_model, d_head]`, and their biases."""
    joint = network.transformer.h[layer].attn.c_attn
    weights, biases = (
        [_by_head(network, part) for part in each.split(network.config.n_embd, dim=-1)]
        for each in (joint.weight, joint.bias)
    )
    return weights, biases
