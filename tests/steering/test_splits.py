from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.steering.splits import halves_by_name, halves_by_prompt
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task


@pytest.fixture(scope="module")
def prompts():
    words = Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)
    return ioi_task(n=40).prompt_pairs(words)


def test_halves_by_name_share_no_name(prompts):
    halves = halves_by_name(prompts, seed=0)
    assert halves is not None
    first, second = (
        {prompts[row].answer_id for row in half} | {prompts[row].distractor_id for row in half} for half in halves
    )
    assert not first & second
    assert halves == halves_by_name(prompts, seed=0)


def test_prompts_with_the_same_names_have_no_halves_by_name(prompts):
    assert halves_by_name(PromptPairs([prompts[0]] * 4), seed=0) is None


@pytest.mark.parametrize("count", [2, 7, 40])
def test_halves_by_prompt_take_each_prompt_once(count):
    first, second = halves_by_prompt(count, seed=3)
    assert sorted(first + second) == list(range(count))
    assert len(first) == count // 2
    assert halves_by_prompt(count, seed=3) == (first, second)
