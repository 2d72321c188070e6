"""Direct logit attribution: the terms add up, and equal TransformerLens' own on folded weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis import direct_logit_attribution

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.models.loading import load_model
from tests.conftest import hugging_face, ioi_task, model_config
from tests.engine.test_targets import log_sums, with_sets


@pytest.fixture
def engine(model):
    return Engine(model, ioi_task(n=6).prompt_pairs(model.tokens))


@pytest.mark.parametrize("which", ["clean", "corrupted"])
def test_the_terms_add_up_to_the_models_logits(engine, which):
    effects = direct_effects(engine, which)
    plain = hugging_face(engine.model.folder)
    for row, pair in enumerate(engine.prompts):
        tokens = pair.clean_tokens if which == "clean" else pair.corrupted_tokens
        with torch.no_grad():
            logits = plain(torch.tensor([tokens])).logits[0, -1]
        centred = logits - logits.mean()
        assert effects.answer.sum[row] == pytest.approx(float(centred[pair.answer_id]), abs=1e-3)
        assert effects.distractor.sum[row] == pytest.approx(float(centred[pair.distractor_id]), abs=1e-3)
        difference = logits[pair.answer_id] - logits[pair.distractor_id]
        assert effects.difference.sum[row] == pytest.approx(float(difference), abs=1e-3)
        assert effects.logit_diff[row] == pytest.approx(float(difference), abs=1e-4)
    assert effects.error < 1e-3


def test_with_the_weights_in_sets_held_the_terms_add_up_to_the_logsumexp_difference(engine):
    of_sets = engine.on(with_sets(engine.prompts))
    effects, one_token = direct_effects(of_sets, "clean"), direct_effects(engine, "clean")
    plain = hugging_face(engine.model.folder)
    for row, pair in enumerate(of_sets.prompts):
        with torch.no_grad():
            logits = plain(torch.tensor([pair.clean_tokens])).logits[0, -1]
        answer, distractor = log_sums(logits - logits.mean(), pair)
        assert effects.answer.sum[row] == pytest.approx(float(answer), abs=1e-3)
        assert effects.difference.sum[row] == pytest.approx(float(answer - distractor), abs=1e-3)
    assert effects.difference.heads[:, :, 0] == pytest.approx(one_token.difference.heads[:, :, 0], abs=1e-5)
    assert np.abs(effects.difference.heads[:, :, 1] - one_token.difference.heads[:, :, 1]).max() > 1e-3


def test_heads_and_mlps_are_those_of_transformer_lens(folders):
    """On a model without value biases, which TransformerLens folds into the attention bias."""
    model = load_model(model_config(folders["llama-gqa"]))
    prompts = ioi_task(n=3, template=0).prompt_pairs(model.tokens)
    effects = direct_effects(Engine(model, prompts), "clean").difference
    folded = TransformerBridge.boot_transformers(str(model.folder), device="cpu")
    folded.enable_compatibility_mode()
    tokens = torch.tensor([pair.clean_tokens for pair in prompts])
    answers, distractors = (
        torch.tensor([getattr(pair, name) for pair in prompts]) for name in ("answer_id", "distractor_id")
    )
    with torch.no_grad():
        components = direct_logit_attribution(folded, tokens, answers, distractors)
        _, cache = folded.run_with_cache(tokens)
    by_name = dict(zip(components.labels, components.attribution.numpy(), strict=True))
    assert effects.embedding == pytest.approx(by_name["embed"], abs=1e-4)
    direction = folded.W_U[:, answers] - folded.W_U[:, distractors]
    scale = cache["ln_final.hook_scale"][:, -1]
    for layer in range(model.shape.n_layers):
        assert effects.mlps[layer] == pytest.approx(by_name[f"{layer}_mlp_out"], abs=1e-4)
        assert effects.heads[layer].sum(axis=0) == pytest.approx(by_name[f"{layer}_attn_out"], abs=1e-4)
        z = cache[f"blocks.{layer}.attn.hook_z"][:, -1]
        for head in range(model.shape.n_heads):
            written = z[:, head] @ folded.blocks[layer].attn.W_O[head] / scale
            expected = (written * direction.T).sum(dim=-1).detach().numpy()
            assert effects.heads[layer, head] == pytest.approx(expected, abs=1e-4)


def test_a_head_that_writes_nothing_has_no_term(engine):
    silent = [Edit(Site("z", 1, 2), "zero"), Edit(Site("mlp_out", 0), "zero")]
    effects = direct_effects(engine, "clean", silent)
    assert effects.difference.heads[1, 2] == pytest.approx(0, abs=1e-6)
    assert effects.difference.mlps[0] == pytest.approx(0, abs=1e-6)
    assert np.abs(effects.difference.heads[1, 1]).max() > 0
    assert effects.logit_diff == pytest.approx(engine.run([silent], "clean").logit_diff[0])


def test_terms_that_do_not_add_up_are_refused(engine, monkeypatch):
    unembedding = type(engine.model.bridge)
    right = unembedding.W_U.fget
    monkeypatch.setattr(unembedding, "W_U", property(lambda self: 1.1 * right(self)))
    with pytest.raises(LabError, match=r"the direct terms of .* miss its logit difference by \S+, more than 0\.001$"):
        direct_effects(engine, "clean")


def test_heads_that_do_not_make_the_attentions_output_are_refused(engine, monkeypatch):
    attention = type(engine.model.bridge.blocks[0].attn)
    right = attention.W_O.fget
    monkeypatch.setattr(attention, "W_O", property(lambda self: right(self).flip(0)))
    with pytest.raises(LabError, match=r"no direct effects .*: the attention of layer 0 writes more than the sum of"):
        direct_effects(engine, "clean")
