"""Prompts with a name whose gender the pronoun has."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.gendered_pronoun import FEMALE, MALE, PRONOUNS, TEMPLATES, GenderedPronounTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.tasks.words import texts_at, word_tokens


@pytest.fixture(scope="module")
def tokens():
    names = [template.format(name=name) for template in TEMPLATES for name in (*FEMALE[:12], *MALE[:12])]
    return word_tokens([*names, *PRONOUNS])


def test_the_pronoun_has_the_gender_of_the_name(tokens):
    task = GenderedPronounTask(n=12)
    for index, (pair, at) in enumerate(zip(task.prompt_pairs(tokens), texts_at(task, tokens), strict=True)):
        own, other = (FEMALE, MALE) if pair.answer == " she" else (MALE, FEMALE)
        assert {pair.answer, pair.distractor} == set(PRONOUNS)
        assert pair.answer == PRONOUNS[index % 2]
        name, twin = pair.topics
        assert (name in own, twin in other, at["NAME"]) == (True, True, name)
        assert pair.corrupted == pair.clean.replace(name, twin)
        assert pair.group in TEMPLATES


def test_no_name_has_both_genders():
    assert not set(FEMALE) & set(MALE)


def test_a_tokenizer_without_pronouns_or_names_is_refused():
    tokens = Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)
    with pytest.raises(LabError, match=r"task=gendered_pronoun: ' she' and ' he' are not single tokens of this model"):
        GenderedPronounTask().prompt_pairs(tokens)
    few = word_tokens([*PRONOUNS, *(f" {name}" for name in (*FEMALE[:3], *MALE))])
    with pytest.raises(LabError, match=r"has 3 female and \d+ male names as single tokens, at least 10 of each"):
        GenderedPronounTask().prompt_pairs(few)
