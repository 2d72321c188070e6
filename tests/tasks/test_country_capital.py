"""Questions for capitals."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.country_capital import CAPITALS, CountryCapitalTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.tasks.words import texts_at, word_tokens


@pytest.fixture(scope="module")
def tokens():
    question = "Q: What is the capital of Poland?\nA: Warsaw"
    return word_tokens([question, *(f" {word}" for pair in CAPITALS.items() for word in pair)])


def test_the_answer_is_the_capital_and_the_distractor_that_of_the_twin(tokens):
    task = CountryCapitalTask(n=12)
    for pair, at in zip(task.prompt_pairs(tokens), texts_at(task, tokens), strict=True):
        country = pair.clean.split("capital of ")[2].split("?")[0]
        twin = pair.corrupted.split("capital of ")[2].split("?")[0]
        assert country != twin
        assert (pair.answer, pair.distractor) == (f" {CAPITALS[country]}", f" {CAPITALS[twin]}")
        assert (at["COUNTRY"], at["END"]) == (country, ":")
        assert pair.clean.count("Warsaw") == 1


def test_the_example_is_no_question():
    assert "Poland" not in CAPITALS
    assert len(set(CAPITALS.values())) == len(CAPITALS)


def test_a_tokenizer_without_capitals_is_refused():
    tokens = Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)
    with pytest.raises(LabError, match=r"task=country_capital: .* has 0 of \d+ capitals as single tokens"):
        CountryCapitalTask().prompt_pairs(tokens)
