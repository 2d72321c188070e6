"""How many tokens a model reads, against plain Hugging Face models that are given one token more."""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.jobs.experiment import length_notes
from ioi_lab.models.loading import load_model
from ioi_lab.models.positions import forget_lengths, intended_length, position_limit
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tiny import tiny_folder
from tests.conftest import hugging_face, model_config

N_CTX = 12
GPT = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": N_CTX}
LLAMA = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    "intermediate_size": 8, "max_position_embeddings": N_CTX, "pad_token_id": 0,
}  # fmt: skip
DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}}
PER_LAYER = {
    kind: {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0} for kind in ("full_attention", "sliding_attention")
}
CONFIGS = {
    "gpt2": ("GPT2", GPT),
    "openai-gpt": ("OpenAIGPT", GPT),
    "gptj": ("GPTJ", GPT | {"rotary_dim": 4}),
    "gpt_neo": ("GPTNeo", {
        "hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position_embeddings": N_CTX,
        "attention_types": [[["global"], 1]],
    }),
    "opt": ("OPT", {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 8,
        "max_position_embeddings": N_CTX, "word_embed_proj_dim": 16,
    }),
    "mpt": ("Mpt", {"d_model": 16, "n_heads": 2, "n_layers": 1, "max_seq_len": N_CTX}),
    "bloom": ("Bloom", {"hidden_size": 16, "n_layer": 1, "n_head": 2}),
    "llama": ("Llama", LLAMA),
    "llama-dynamic": ("Llama", LLAMA | DYNAMIC),
    "mistral, sliding": ("Mistral", LLAMA | {"sliding_window": 4}),
    "gemma3, sliding": ("Gemma3Text", LLAMA | {"sliding_window": 4}),
    "gemma3, dynamic": ("Gemma3Text", LLAMA | {"sliding_window": 4, "rope_parameters": PER_LAYER}),
}  # fmt: skip


def plain_model(name, vocab_size=30):
    kind, sizes = CONFIGS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(vocab_size=vocab_size, bos_token_id=0, eos_token_id=0, **sizes)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


@torch.no_grad()
def logits_of(model, n_tokens):
    return model(torch.arange(n_tokens)[None] % 30).logits


@pytest.mark.parametrize("name", CONFIGS)
def test_a_limit_is_where_the_plain_model_ends(name):
    model = plain_model(name)
    limit = position_limit(model, N_CTX)
    logits_of(model, limit or 5 * N_CTX)
    if limit is not None:
        with pytest.raises((IndexError, RuntimeError)):
            logits_of(model, limit + 1)


@pytest.mark.parametrize("name", ["llama-dynamic", "gemma3, dynamic"])
def test_prompts_do_not_depend_on_those_before(name):
    model, kept = plain_model(name), plain_model(name)
    forget_lengths(model)
    kept_agrees = []
    for n_tokens in (14, 30, 20, 6, 13):
        fresh = logits_of(plain_model(name), n_tokens)
        assert torch.equal(logits_of(model, n_tokens), fresh)
        kept_agrees.append(torch.equal(logits_of(kept, n_tokens), fresh))
    assert kept_agrees == [True, True, False, True, True]  # Transformers alone


def test_dynamic_scaling_stretches_the_context():
    assert intended_length(plain_model("llama-dynamic"), N_CTX) == 4 * N_CTX
    assert intended_length(plain_model("llama"), N_CTX) == N_CTX
    assert intended_length(plain_model("gpt2"), N_CTX) == N_CTX


def saved(name, folder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))
    plain_model(name, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_model(model_config(folder))


def prompts_of(*lengths):
    return PromptPairs([PromptPair.untasked(tuple(range(1, length + 1))) for length in lengths])


def test_a_model_with_a_table_of_positions_refuses_longer_prompts(tmp_path):
    model = saved("opt", tmp_path / "opt")
    assert Engine(model, prompts_of(N_CTX)).record("clean", []) == {}
    with pytest.raises(LabError, match=r"^task: a prompt has 13 tokens, but opt reads at most 12; expected shorter"):
        Engine(model, prompts_of(N_CTX, N_CTX + 1))


def test_a_model_with_dynamic_rotary_scaling_reads_longer_prompts(tmp_path):
    model = saved("llama-dynamic", tmp_path / "dynamic")
    prompts = prompts_of(30, 14, 13, 5)
    engine = Engine(model, prompts)
    for which in ("clean", "corrupted"):
        answers = engine.baseline(which).answer_logit[0]
        for answer, pair in zip(answers, prompts, strict=True):
            with torch.no_grad():
                logits = hugging_face(model.folder)(torch.tensor([pair.clean_tokens])).logits[0, -1]
            assert answer == pytest.approx(float(logits[pair.answer_id]), abs=1e-4)
    assert length_notes(prompts, model.shape) == ()
    (note,) = length_notes(prompts_of(49), model.shape)
    assert note == "warning: a prompt has 49 tokens, but dynamic is made for at most 48"
