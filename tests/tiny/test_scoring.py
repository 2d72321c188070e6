"""Scores of packaged models on prompts that differ from their training data."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoTokenizer

from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from ioi_lab.tiny.corpus import is_held_out
from ioi_lab.tiny.folders import load
from ioi_lab.tiny.scoring import NAMES_BY_ORDER, THREE_TASKS, HeldOut, score


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(tiny_folder("tiny-llama"))


def test_a_score_is_what_the_model_says_prompt_by_prompt():
    """Passes of single prompts, without padding."""
    model, tokenizer = load(tiny_folder("tiny-gpt2"))
    (kind, _) = NAMES_BY_ORDER
    (found,) = score(model.eval(), tokenizer, (kind,), candidates=40)
    prompts = kind.prompts(Tokens(tokenizer, prepend_bos=True), 40)
    right, p_answer = 0, 0.0
    for pair in prompts:
        with torch.no_grad():
            probabilities = model(torch.tensor([pair.clean_tokens])).logits[0, -1].softmax(dim=-1)
        right += bool(probabilities[pair.answer_id] > probabilities[pair.distractor_id])
        p_answer += float(probabilities[pair.answer_id])
    assert (found.name, found.prompts) == ("ABBA", len(prompts))
    assert found.accuracy == right / len(prompts)
    assert found.p_answer == pytest.approx(p_answer / len(prompts), abs=1e-5)


def test_only_prompts_with_new_words_count(tokenizer):
    tokens = Tokens(tokenizer, prepend_bos=True)
    for kind in THREE_TASKS:
        kept = len(kind.prompts(tokens, 500))
        assert 20 < kept < 150, kind.name  # about one pair of words in five
    seen, unseen = (kind.prompts(tokens, 300) for kind in THREE_TASKS[:2])
    assert not {pair.group for pair in seen} & {pair.group for pair in unseen}
    assert all(is_held_out(pair.answer.strip(), pair.distractor.strip()) for pair in [*seen, *unseen])


def test_a_model_that_knows_nothing_scores_by_chance():
    model, tokenizer = load(tiny_folder("tiny-gpt2"))
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
    everything = HeldOut("ioi", lambda n: IOITask(n=n, seed=1), lambda pair: True)
    (found,) = score(model, tokenizer, (everything,), candidates=200)
    assert found.accuracy == pytest.approx(0.5, abs=0.15)
    assert found.p_answer < 0.05
