"""Prompts with a subject whose number the verb has."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.subject_verb_agreement import (
    ATTRACTORS,
    FORMS,
    PREPOSITIONS,
    SUBJECTS,
    SubjectVerbAgreementTask,
)
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.tasks.words import texts_at, word_tokens


@pytest.fixture(scope="module")
def tokens():
    nouns = [f"The {noun} the {noun}s" for noun in (*SUBJECTS, *ATTRACTORS)]
    return word_tokens([*nouns, *(f" {word} the" for word in PREPOSITIONS), *FORMS[0], *FORMS[1][:2]])


def number_of(noun):
    return int(noun.endswith("s"))


@pytest.mark.parametrize(("attractor", "shares"), [("mixed", {0.5}), ("same", {1.0}), ("opposite", {0.0})])
def test_the_verb_has_the_number_of_the_subject(tokens, attractor, shares):
    task = SubjectVerbAgreementTask(n=16, attractor=attractor)
    alike = []
    for pair, at in zip(task.prompt_pairs(tokens), texts_at(task, tokens), strict=True):
        number = number_of(at["SUBJECT"])
        assert pair.answers == FORMS[number][:2]  # " have" is no token of this tokenizer
        assert pair.distractors == FORMS[1 - number][:2]
        subject, other = (word.removesuffix("s") for word in (at["SUBJECT"], at["ATTRACTOR"]))
        assert pair.topics == (subject, other)
        twin = subject if number else f"{subject}s"
        assert pair.corrupted == pair.clean.replace(f"The {at['SUBJECT']}", f"The {twin}")
        alike.append(number_of(at["ATTRACTOR"]) == number)
    assert {sum(alike) / len(alike)} == shares
    assert task.title == f"subject_verb_agreement (prepositional, {attractor} attractor)"


def test_without_a_noun_in_between(tokens):
    task = SubjectVerbAgreementTask(n=4, structure="simple", only_correct=True)
    prompts = task.prompt_pairs(tokens)
    assert prompts.labels() == ["BOS", "SUBJECT", "END"]
    assert all(len(pair.clean.split()) == 2 for pair in prompts)
    assert task.title == "subject_verb_agreement (simple), answered correctly"


def test_a_tokenizer_that_writes_plurals_longer_is_refused():
    tokens = Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)
    with pytest.raises(LabError, match=r"task=subject_verb_agreement: .* 0 of 30 subjects and 2 of 20 other nouns are"):
        SubjectVerbAgreementTask().prompt_pairs(tokens)
