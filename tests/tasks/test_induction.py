"""Induction prompts."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.induction import WORDS, InductionTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder


@pytest.fixture(params=["tiny-gpt2", "tiny-pythia", "planted-induction"])
def tokens(request):
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder(request.param)), prepend_bos=True)


def test_what_followed_the_repeated_word_is_the_answer(tokens):
    prompts = InductionTask(n=8).prompt_pairs(tokens)
    orders = set()
    for pair in prompts:
        for text, answer in ((pair.clean, pair.answer), (pair.corrupted, pair.distractor)):
            words = text.split()
            assert set(words) <= set(WORDS)
            assert len(set(words)) == len(words) - 1
            assert words[words.index(words[-1]) + 1] == answer.strip()
        at = {label: pair.clean_tokens[place] for label, place in pair.labels.items()}
        assert at["A"] == at["END"] == tokens.single(f" {pair.clean.split()[-1]}")
        assert (at["B"], at["D"]) == (pair.answer_id, pair.distractor_id)
        assert (pair.labels["B"], pair.labels["D"]) == (pair.labels["A"] + 1, pair.labels["C"] + 1)
        orders.add(pair.labels["A"] < pair.labels["C"])
    assert orders == {True, False}
    assert prompts.labels() == ["BOS", *[label for label in prompts.labels() if label in "ABCD"], "END"]


def test_a_seed_gives_the_same_prompts_for_every_model(tokens):
    other = Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)
    texts = [[pair.clean for pair in InductionTask(n=4, seed=3).prompt_pairs(each)] for each in (tokens, other)]
    assert texts[0] == texts[1]
    assert texts[0] != [pair.clean for pair in InductionTask(n=4, seed=4).prompt_pairs(other)]


def test_a_tokenizer_without_the_words_is_refused(monkeypatch):
    monkeypatch.setattr("ioi_lab.tasks.induction.WORDS", ("qqqzz", "store"))
    tokens = Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)
    with pytest.raises(LabError, match=r"task=induction: .* has 1 of 2 words as single tokens, at least 16"):
        InductionTask().prompt_pairs(tokens)


def test_nothing_is_repeated_in_unrelated_twins(tokens):
    for pair in InductionTask(n=4, corruption="abc").prompt_pairs(tokens):
        clean, corrupted = pair.clean.split(), pair.corrupted.split()
        assert len(set(corrupted)) == len(corrupted) == len(clean)
        assert sum(a != b for a, b in zip(clean, corrupted, strict=True)) == 5
        assert not {pair.answer.strip(), pair.distractor.strip(), clean[-1]} & set(corrupted)
    assert InductionTask(corruption="abc").title == "induction (abc)"
