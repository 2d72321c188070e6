from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.engine.engine import Engine
from ioi_lab.lenses.attention import attention_to
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.lenses.head_scores import copying_scores, repeat_scores, repeated_tokens, share_of, unedited_scores
from tests.conftest import ioi_task
from tests.lenses.test_attention import cached_patterns


@pytest.fixture
def engine(model):
    return Engine(model, ioi_task(n=6).prompt_pairs(model.tokens))


def test_repeated_tokens(model):
    sequences = repeated_tokens(model, 3, seed=1)
    special = set(model.tokens.tokenizer.all_special_ids)
    for sequence in sequences:
        bos, *rest = sequence.clean_tokens
        half = len(rest) // 2
        assert bos == model.tokens.tokenizer.bos_token_id
        assert rest[:half] == rest[half:]
        assert len(set(rest)) == half
        assert not special & set(rest)
        assert len(sequence) <= model.shape.n_ctx
    assert repeated_tokens(model, 3, seed=1) == sequences
    assert repeated_tokens(model, 3, seed=2) != sequences


def test_repeat_scores_are_means_over_the_cached_patterns(model, engine):
    scores = repeat_scores(engine, 5, seed=1)
    sums = dict.fromkeys(scores, 0.0)
    for sequence in repeated_tokens(model, 5, seed=1):
        pattern = cached_patterns(model, sequence.clean_tokens)
        half = (len(sequence) - 1) // 2
        sums["previous_token"] += np.mean([pattern[:, :, q, q - 1] for q in range(2, 2 * half + 1)], axis=0) / 5
        second = range(half + 1, 2 * half + 1)
        sums["duplicate_token"] += np.mean([pattern[:, :, q, q - half] for q in second], axis=0) / 5
        sums["induction"] += np.mean([pattern[:, :, q, q - half + 1] for q in second], axis=0) / 5
    for name, expected in sums.items():
        assert scores[name].shape == (*expected.shape, 5)
        assert scores[name].mean(axis=-1) == pytest.approx(expected, abs=1e-5)


def test_repeat_scores_are_by_sequence(model, engine):
    first, *_ = repeated_tokens(model, 5, seed=1)
    pattern, half = cached_patterns(model, first.clean_tokens), (len(first) - 1) // 2
    second = range(half + 1, 2 * half + 1)
    expected = np.mean([pattern[:, :, q, q - half + 1] for q in second], axis=0)
    assert repeat_scores(engine, 5, seed=1)["induction"][..., 0] == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_copying_is_that_of_a_loop_over_heads(model, engine, monkeypatch):
    monkeypatch.setattr("ioi_lab.lenses.head_scores.N_LIKELIEST", 100)  # of random weights, five copy nothing
    copied, opposed = (copying_scores(engine, "clean", "IO", negative=negative) for negative in (False, True))
    bridge, shape = model.bridge, model.shape
    for row, pair in enumerate(engine.prompts):
        _, cache = bridge.run_with_cache(torch.tensor([pair.clean_tokens]))
        name = cache["blocks.0.hook_resid_post"][:, [pair.labels["IO"]]]
        for layer in range(shape.n_layers):
            attention = bridge.blocks[layer].attn
            for head in range(shape.n_heads):
                value = attention.W_V[head * shape.n_kv_heads // shape.n_heads]
                moved = bridge.blocks[layer].ln1(name) @ value @ attention.W_O[head]
                for scores, output in ((copied, moved), (opposed, -moved)):
                    likeliest = bridge.unembed(bridge.ln_final(output))[0, 0].topk(100).indices
                    assert scores[layer, head, row] == float(pair.answer_id in likeliest)
    assert 0 < copied.sum() < copied.size


def test_unedited_scores_put_each_measurement_under_its_name(engine):
    direct = direct_effects(engine, "clean")
    scores = unedited_scores(engine, direct, 2, seed=1)
    shape = engine.shape.n_layers, engine.shape.n_heads
    for name, values in scores.items():
        assert values.shape == (*shape, 2 if name.endswith("_random") else len(engine.prompts)), name
    for name, query, key in (
        ("previous_token_task", "S1+1", "S1"),
        ("duplicate_token_task", "S2", "S1"),
        ("induction_task", "S2", "S1+1"),
        ("end_to_io", "END", "IO"),
        ("end_to_s1", "END", "S1"),
        ("end_to_s2", "END", "S2"),
    ):
        assert scores[name] == pytest.approx(attention_to(engine, "clean", query, [key])[:, :, 0])
    repeated = repeat_scores(engine, 2, seed=1)
    assert scores["induction_random"] == pytest.approx(repeated["induction"])
    assert scores["end_to_s"] == pytest.approx(scores["end_to_s1"] + scores["end_to_s2"])
    assert scores["end_to_io_minus_s"] == pytest.approx(scores["end_to_io"] - scores["end_to_s"])
    assert (scores["negative_copying_s2"] == copying_scores(engine, "clean", "S2", negative=True)).all()
    assert (scores["copying"] == copying_scores(engine, "clean", "IO")).all()


def test_shares_of_nothing_are_unknown():
    values = np.array([1.0, -2.0])
    assert share_of(values, 4.0).tolist() == [0.25, -0.5]
    for whole in (0.0, -4.0):
        assert np.isnan(share_of(values, whole)).all()
