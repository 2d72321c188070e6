"""Prompts that a model cannot read are reported before anything is run."""

from __future__ import annotations

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config
from tests.odd_models import tokenizer, write_odd_model


def test_a_token_without_an_embedding_is_reported(tmp_path):
    """A tokenizer may have more tokens than the model: prompts without them run."""
    n_tokens = len(tokenizer()) - 100
    model = load_model(model_config(write_odd_model("gptj", tmp_path, vocab_size=n_tokens)))
    small = PromptPairs([PromptPair.untasked((1, 2, n_tokens - 1))])
    Engine(model, small)
    large = PromptPairs([PromptPair.untasked((1, 2, 3)), PromptPair.untasked((1, n_tokens, 3))])
    line = rf"^model: token {n_tokens} \(.*\) of a prompt has no embedding, as gptj has {n_tokens} tokens and its token"
    with pytest.raises(LabError, match=line):
        Engine(model, large)


def test_a_prompt_longer_than_the_model_can_read_is_reported():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    prompts = ioi_task(n=2).prompt_pairs(model.tokens)
    Engine(model, prompts)
    long = PromptPairs([PromptPair.untasked((1,) * 65)])
    with pytest.raises(LabError, match=r"^task: a prompt has 65 tokens, but tiny-gpt2 reads at most 64; "):
        Engine(model, long)
