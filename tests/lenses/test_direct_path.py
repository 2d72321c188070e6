"""Direct effects in models with more than a norm on the way to the logits, against plain Hugging Face models.

The oracle runs the plain model with all norms on the way held, and with the inputs of W_O and the outputs of MLPs as
leaves: the logits are then a sum of products of leaves and their gradients, taken by autograd.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from operator import attrgetter

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.direct import cap_note, direct_effects
from ioi_lab.lenses.direct_path import DirectPath
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import hugging_face, ioi_task, model_config

SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8,
    "intermediate_size": 24, "max_position_embeddings": 64, "sliding_window": 6, "pad_token_id": None,
}  # fmt: skip


GROUPED = {"num_key_value_heads": 1}


@dataclass(frozen=True)
class Architecture:
    """A tiny model, and the names of its modules: of a block's, relative to the block."""

    kind: str
    changes: dict = field(default_factory=dict)
    blocks: str = "model.layers"
    out: str = "self_attn.o_proj"
    mlp: str = "mlp"
    block_norms: tuple[str, ...] = ()
    final_norm: str | None = "model.norm"
    head: str | None = None
    """The module whose output is read, if it is not the logits."""


OPT = Architecture("OPT", {
    "ffn_dim": 24, "word_embed_proj_dim": 8, "do_layer_norm_before": False, "init_std": 0.2,
}, "model.decoder.layers", "self_attn.out_proj", "fc2", ("self_attn_layer_norm", "final_layer_norm"), None)  # fmt: skip
GEMMA_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
ARCHITECTURES = {
    "gemma2": Architecture(
        "Gemma2", GROUPED | {"final_logit_softcapping": 5.0, "query_pre_attn_scalar": 8},
        block_norms=GEMMA_NORMS, head="lm_head",
    ),
    "gemma3": Architecture("Gemma3Text", GROUPED | {"query_pre_attn_scalar": 8}, block_norms=GEMMA_NORMS),
    "olmo2": Architecture("Olmo2", GROUPED, block_norms=GEMMA_NORMS),
    "glm4": Architecture("Glm4", block_norms=("post_self_attn_layernorm", "post_mlp_layernorm")),
    "granite": Architecture("Granite", GROUPED | {
        "logits_scaling": 8.0, "residual_multiplier": 0.22, "embedding_multiplier": 12.0,
    }),
    "cohere": Architecture("Cohere", {"logit_scale": 0.0625}),
    "opt, norms after": OPT,
    "opt": replace(OPT, changes=OPT.changes | {"do_layer_norm_before": True, "word_embed_proj_dim": 16}, block_norms=(),
        final_norm="model.decoder.final_layer_norm"),
    "openai-gpt": Architecture(
        "OpenAIGPT", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
        "transformer.h", "attn.c_proj", "mlp", ("ln_1", "ln_2"), None,
    ),
    "bloom": Architecture(
        "Bloom", {"n_layer": 2, "n_head": 2},
        "transformer.h", "self_attention.dense", "mlp.dense_4h_to_h", final_norm="transformer.ln_f",
    ),
    "gptj": Architecture(
        "GPTJ", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "rotary_dim": 4},
        "transformer.h", "attn.out_proj", final_norm="transformer.ln_f",
    ),
    "mixtral": Architecture("Mixtral", GROUPED | {"num_local_experts": 2, "num_experts_per_tok": 1}),
}  # fmt: skip


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request, tmp_path_factory):
    """An architecture with its folder."""
    return ARCHITECTURES[request.param], made(
        ARCHITECTURES[request.param], tmp_path_factory.mktemp("direct") / request.param
    )


def made(architecture, folder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture.kind}Config")(**(SIZES | ids | architecture.changes))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases, which begin as 0 or 1
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def held(module, inputs, output):
    """The norm's output, as a function of its input that does not change its scale."""
    (stream,) = inputs
    varying = stream - stream.mean(-1, keepdim=True) if "LayerNorm" in type(module).__name__ else stream
    normed = varying / varying.detach().square().mean(-1, keepdim=True).sqrt()
    bias = getattr(module, "bias", None)
    base = torch.zeros_like(output) if bias is None else bias.expand_as(output)
    weight = ((output - base) / normed).detach()  # with the norm's epsilon in it
    return normed * weight + base


class Leaves:
    """The leaves of a pass, by their layer, and hooks that put them there."""

    def __init__(self):
        self.of = {}

    def keep(self, name, activation):
        self.of[name] = activation.detach().clone().requires_grad_()
        return self.of[name]

    def on_input(self, name):
        def before(module, arguments, keywords):
            if arguments:
                return (self.keep(name, arguments[0]), *arguments[1:]), keywords
            return arguments, keywords | {"hidden_states": self.keep(name, keywords["hidden_states"])}

        return lambda module: module.register_forward_pre_hook(before, with_kwargs=True)

    def on_output(self, name):
        def after(module, _, output):
            return (self.keep(name, output[0]), *output[1:]) if isinstance(output, tuple) else self.keep(name, output)

        return lambda module: module.register_forward_hook(after)


def oracle_terms(architecture, model, tokens, answer, distractor, n_heads):
    """The terms of the logit difference: `embedding`, `(layer, head)` and `mlp layer`, and the difference itself."""
    leaves, read = Leaves(), []
    blocks = attrgetter(architecture.blocks)(model)
    with ExitStack() as stack:
        stack.enter_context(leaves.on_input("embedding")(blocks[0]))
        for layer, block in enumerate(blocks):
            stack.enter_context(leaves.on_input(layer)(attrgetter(architecture.out)(block)))
            stack.enter_context(leaves.on_output(f"mlp {layer}")(attrgetter(architecture.mlp)(block)))
            for norm in architecture.block_norms:
                stack.enter_context(attrgetter(norm)(block).register_forward_hook(held))
        if architecture.final_norm:
            stack.enter_context(attrgetter(architecture.final_norm)(model).register_forward_hook(held))
        if architecture.head:
            head = attrgetter(architecture.head)(model)
            stack.enter_context(head.register_forward_hook(lambda _, __, output: read.append(output)))
        output = model(torch.tensor([tokens])).logits
    logits = (read or [output])[0][0, -1]
    difference = logits[answer] - logits[distractor]
    gradients = torch.autograd.grad(difference, list(leaves.of.values()))
    products = {
        name: (leaf * gradient).flatten(0, -2).sum(0)
        for (name, leaf), gradient in zip(leaves.of.items(), gradients, strict=True)
    }
    terms = {name: product.sum().item() for name, product in products.items() if isinstance(name, str)}
    for layer in range(len(blocks)):
        terms |= {(layer, head): part.sum().item() for head, part in enumerate(products[layer].view(n_heads, -1))}
    return terms, difference.item(), (output[0, -1, answer] - output[0, -1, distractor]).item()


def test_each_term_is_that_of_the_plain_model(case):
    architecture, folder = case
    model = load_model(model_config(folder))
    prompts = ioi_task(n=3).prompt_pairs(model.tokens)
    effects = direct_effects(Engine(model, prompts), "clean")
    plain, difference = hugging_face(folder), effects.difference
    for row, pair in enumerate(prompts):
        expected, logit_diff, capped = oracle_terms(
            architecture, plain, pair.clean_tokens, pair.answer_id, pair.distractor_id, model.shape.n_heads
        )
        assert difference.sum[row] == pytest.approx(logit_diff, abs=1e-4)
        assert effects.logit_diff[row] == pytest.approx(logit_diff, abs=1e-4)
        assert (abs(capped - logit_diff) > 1e-4) == (effects.logit_cap is not None)
        assert difference.embedding[row] == pytest.approx(expected["embedding"], abs=1e-4)
        for layer in range(model.shape.n_layers):
            assert difference.mlps[layer, row] == pytest.approx(expected[f"mlp {layer}"], abs=1e-4)
            for head in range(model.shape.n_heads):
                assert difference.heads[layer, head, row] == pytest.approx(expected[layer, head], abs=1e-4)
    assert effects.error < 1e-4
    assert effects.logit_cap == architecture.changes.get("final_logit_softcapping")
    assert np.abs(difference.heads).max() > 1e-3


def test_a_soft_cap_is_named(case):
    architecture, folder = case
    model = load_model(model_config(folder))
    engine = Engine(model, ioi_task(n=2).prompt_pairs(model.tokens))
    cap = architecture.changes.get("final_logit_softcapping")
    path = DirectPath.of(engine, "clean")
    assert path.logit_cap == cap
    logits = np.array([[-40.0, 0.5, 3.0]])
    assert path.capped(logits) == pytest.approx(logits if cap is None else cap * np.tanh(logits / cap))
    assert cap is None or f"bounds its logits by ±{cap:g} with a soft cap" in cap_note(model.shape.name, cap)


REFUSED = {
    "Bert": "the attention of layer 0 writes more than the sum of its heads' z times W_O",
    "Jamba": "layer 0 has no attention whose heads could be read (z)",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_prevents_direct_effects_is_named(kind, tmp_path):
    changes = {
        "Bert": {"is_decoder": True},
        "Jamba": {
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "use_mamba_kernels": False,
            "num_key_value_heads": 2,
            "mamba_d_state": 4,
            "mamba_dt_rank": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
        },
    }[kind]
    model = load_model(model_config(made(Architecture(kind, changes), tmp_path / "odd")))
    engine = Engine(model, ioi_task(n=2).prompt_pairs(model.tokens))
    with pytest.raises(LabError) as refused:
        direct_effects(engine, "clean")
    assert str(refused.value) == (f"intervention: odd has no direct effects that add up to its logits: {REFUSED[kind]}")
