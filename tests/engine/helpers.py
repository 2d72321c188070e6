"""Shared by several tests of the engine: the comparison with brute force, edit sets, and counts of what is computed."""

from __future__ import annotations

import pytest
import torch
from transformer_lens.ActivationCache import ActivationCache
from transformers import AutoTokenizer

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import load_model
from ioi_lab.models.shape import COMPONENTS
from ioi_lab.tasks.prompts import PromptPairs
from tests.conftest import hugging_face, model_config
from tests.oracle import edited_end_logits


def components(shape):
    return [component for component in COMPONENTS if not (component == "resid_mid" and shape.parallel)]


def assert_matches_brute_force(setup, edit_sets, base, engine=None):
    model, plain, prompts = setup
    readout = (engine or Engine(model, prompts)).run(edit_sets, base, progress=False)
    for row, pair in enumerate(prompts):
        unedited = edited_end_logits(plain, pair, row, [], base).log_softmax(-1)
        for index, edits in enumerate(edit_sets):
            logits = edited_end_logits(plain, pair, row, edits, base)
            log_probs = logits.log_softmax(-1)
            expected = {
                "answer_logit": logits[pair.answer_id],
                "distractor_logit": logits[pair.distractor_id],
                "logit_diff": logits[pair.answer_id] - logits[pair.distractor_id],
                "p_answer": log_probs[pair.answer_id].exp(),
                "p_distractor": log_probs[pair.distractor_id].exp(),
                "kl": (unedited.exp() * (unedited - log_probs)).sum(),
            }
            for name, value in expected.items():
                got = getattr(readout, name)
                if got is not None:
                    assert got[index, row] == pytest.approx(value.item(), abs=1e-4), (name, edits, pair.clean)


def same_length(prompts: PromptPairs) -> PromptPairs:
    rows = max(prompts.buckets().values(), key=len)
    return PromptPairs([prompts[row] for row in rows])


def transformer_lens_inputs(model, prompts):
    """Corrupted tokens, clean cache and a metric (the mean logit difference) for TransformerLens' patching."""
    clean = torch.tensor([pair.clean_tokens for pair in prompts])
    corrupted = torch.tensor([pair.corrupted_tokens for pair in prompts])
    answer = torch.tensor([pair.answer_id for pair in prompts])
    distractor = torch.tensor([pair.distractor_id for pair in prompts])
    rows = torch.arange(len(prompts))
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(clean)
    assert isinstance(cache, ActivationCache)
    return corrupted, cache, lambda logits: (logits[rows, -1, answer] - logits[rows, -1, distractor]).mean()


def steering_grid(shape, scales=(-1.0, 0.5, 2.0)):
    vector = torch.linspace(-1, 1, shape.d_head)
    return [
        (Edit(Site("z", layer, head, "END"), "add", vector, scale),)
        for layer in range(shape.n_layers)
        for head in range(shape.n_heads)
        for scale in scales
    ]


class Calls:
    """Counts the positions that each block, attention and MLP of the plain model computes."""

    def __init__(self, model):
        self.positions = {}
        self._handles = []
        for layer, block in enumerate(model.bridge.blocks):
            for name, module in (("block", block), ("q", block.attn.q), ("mlp", block.mlp)):
                self.positions[name, layer] = 0
                hook = self._count((name, layer))
                self._handles.append(module.original_component.register_forward_pre_hook(hook, with_kwargs=True))

    def _count(self, key):
        def hook(module, arguments, keywords):
            first = arguments[0] if arguments else keywords["hidden_states"]
            self.positions[key] += first.shape[0] * first.shape[1]

        return hook

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self._handles:
            handle.remove()


def other_model(folder, tmp_path, plain):
    """A random model of another architecture, with the tokenizer of a packaged one."""
    target = tmp_path / "other"
    plain.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    return load_model(model_config(target)), hugging_face(target)
