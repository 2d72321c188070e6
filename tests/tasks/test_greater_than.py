"""Greater-than prompts with tokenizers that write years in different ways."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.greater_than import CENTURIES, NOUNS, GreaterThanTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.tasks.words import texts_at, word_tokens

TEXTS = [
    f"The {noun} lasted from the year {century}32 to the year {century}" for noun in NOUNS for century in CENTURIES
]


@pytest.fixture(scope="module")
def pairs_of_digits():
    return word_tokens(TEXTS, digits=2)


@pytest.fixture(scope="module")
def digits():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


def test_all_later_years_are_answers(pairs_of_digits):
    prompts = GreaterThanTask(n=16).prompt_pairs(pairs_of_digits)
    for pair in prompts:
        words = pair.clean.split()
        year = int(words[6][2:])
        assert words[6][:2] == words[-1]
        assert sorted(map(int, pair.answers)) == list(range(year + 1, 100))
        assert sorted(map(int, pair.distractors)) == list(range(year + 1))
        assert pair.corrupted == pair.clean.replace(words[6], words[-1] + "01")
        assert pair.topics == (words[1], f"{year:02d}")
    for pair, at in zip(prompts, texts_at(GreaterThanTask(n=16), pairs_of_digits), strict=True):
        assert (at["NOUN"], at["YY"], at["END"]) == (*pair.topics, pair.clean.split()[-1])


def test_tokenizers_that_write_single_digits_are_asked_for_the_tens(digits):
    for pair in GreaterThanTask(n=16).prompt_pairs(digits):
        tens = pair.topics[1][0]
        assert pair.token_strings[pair.labels["YY"]] == tens
        assert pair.clean_tokens[pair.labels["YY"]] != pair.corrupted_tokens[pair.labels["YY"]]
        assert min(pair.answers) > tens > max(pair.distractors)
        assert len(pair.answers) + len(pair.distractors) == 9


def test_any_other_way_to_write_years_is_refused():
    with pytest.raises(LabError, match=r"task=greater_than: .* writes the year 1732 as ' 173' '2', expected two"):
        GreaterThanTask().prompt_pairs(word_tokens(TEXTS, digits=3))


def test_a_seed_gives_the_same_prompts(digits):
    texts = [[pair.clean for pair in GreaterThanTask(n=4, seed=seed).prompt_pairs(digits)] for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]
