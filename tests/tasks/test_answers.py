"""Answers and distractors: their texts in files, their tokens, and what is refused."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.answers import as_cell, as_set, distinct_ids, from_cell, in_short
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder


@pytest.fixture(scope="module")
def tokens():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


@pytest.mark.parametrize(
    "texts",
    [(" Mary",), (" is", " was"), (",", ";"), (" a, b", '"', "|"), ("[",), ("]",), ("[]",), (" é", "\\")],
)
def test_a_cell_is_read_as_it_was_written(texts):
    assert from_cell(as_cell(texts)) == texts
    assert as_set(texts) == texts


@pytest.mark.parametrize("cell", ["[1, 2]", "[' is']", "[]", "[" * 10_000 + "]" * 10_000, '{"a": 1}', '[" is", 3]'])
def test_what_is_no_list_of_texts_is_one_text(cell):
    assert from_cell(cell) == (cell,)


def test_each_text_is_a_token_of_its_own(tokens):
    ids = distinct_ids(tokens, (" Mary", " John"), (" James",))
    assert ids == ((tokens.single(" Mary"), tokens.single(" John")), (tokens.single(" James"),))


@pytest.mark.parametrize(
    ("answers", "distractors", "message"),
    [
        ((" Mary", " John"), (" James", " John"), "answer and distractor are the same token ' John'"),
        ((" Mary",), (" Mary",), "answer and distractor are the same token ' Mary'"),
        ((" Mary", " John", " Mary"), (" James",), "answer ' Mary' is in the list 2 times; expected each text once"),
        ((" Mary",), (" James", "John"), "distractor 'John' is not exactly one token of this model; ' John' is"),
        (("[' Mary']",), (" James",), r'several texts are a JSON list, in double quotes: \[" is", " was"\]'),
    ],
)
def test_anything_else_is_refused(tokens, answers, distractors, message):
    with pytest.raises(LabError, match=message):
        distinct_ids(tokens, answers, distractors)


def test_figures_name_a_few_answers():
    assert in_short((" he", " him"), "answers") == "“he”, “him”"
    assert in_short(tuple("abcd"), "distractors") == "4 distractors"
