from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.engine import Engine
from ioi_lab.lenses.attention import attention_to, patterns_of
from tests.conftest import ioi_task


@torch.no_grad()
def cached_patterns(model, tokens):
    """TransformerLens' cached patterns of one prompt: `[layer, head, query, key]`."""
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.shape.n_layers)]
    _, cache = model.bridge.run_with_cache(torch.tensor([tokens]), names_filter=lambda name: name in names)
    return torch.stack([cache[name][0] for name in names]).double().numpy()


@pytest.mark.parametrize(("run", "query"), [("clean", "END"), ("corrupted", "S2"), ("clean", -2)])
def test_weights_are_those_of_the_cached_patterns(model, run, query):
    prompts = ioi_task(n=6).prompt_pairs(model.tokens)
    keys = ["IO", "S1", "S2", 0]
    weights = attention_to(Engine(model, prompts), run, query, keys)
    assert weights.shape == (model.shape.n_layers, model.shape.n_heads, len(keys) + 1, len(prompts))
    assert weights.sum(axis=2) == pytest.approx(1, abs=1e-5)
    for row, pair in enumerate(prompts):
        tokens = pair.clean_tokens if run == "clean" else pair.corrupted_tokens
        pattern = cached_patterns(model, tokens)[:, :, pair.index(query)]
        for index, key in enumerate(keys):
            assert weights[:, :, index, row] == pytest.approx(pattern[:, :, pair.index(key)], abs=1e-5)


def test_a_key_that_is_named_twice_is_not_taken_from_elsewhere_twice(model):
    prompts = ioi_task(n=3).prompt_pairs(model.tokens)
    weights = attention_to(Engine(model, prompts), "clean", "END", ["BOS", 0])
    assert weights[:, :, -1] == pytest.approx(1 - weights[:, :, 0], abs=1e-5)


def test_the_patterns_of_one_prompt(model):
    prompts = ioi_task(n=4).prompt_pairs(model.tokens)
    for row in (0, 3):
        got = patterns_of(Engine(model, prompts), "clean", row)
        assert got == pytest.approx(cached_patterns(model, prompts[row].clean_tokens), abs=1e-5)
