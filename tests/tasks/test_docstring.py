"""Beginnings of Python functions."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.docstring import DocstringTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.tasks.words import texts_at


@pytest.fixture(scope="module")
def tokens():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-pythia")), prepend_bos=True)


@pytest.mark.parametrize("corruption", ["swap", "random"])
def test_the_answer_is_the_next_argument(tokens, corruption):
    task = DocstringTask(n=6, corruption=corruption)
    for pair, at in zip(task.prompt_pairs(tokens), texts_at(task, tokens), strict=True):
        arguments = [at[f"{name}_def"] for name in "ABCD"]
        assert f"(self, {', '.join(arguments)}):" in pair.clean
        assert [at["A_doc"], at["B_doc"]] == arguments[:2]
        assert pair.labels["A_doc"] > pair.labels["D_def"]
        assert pair.answer == f" {arguments[2]}"
        assert pair.distractors == tuple(f" {arguments[index]}" for index in (0, 1, 3))
        twin = pair.corrupted.split("(self, ")[1].split("):")[0].split(", ")
        assert twin[:2] == arguments[:2]
        assert twin[3] == arguments[2] if corruption == "swap" else twin[3] == arguments[3]
        assert pair.answer.strip() in twin if corruption == "swap" else pair.answer.strip() not in pair.corrupted
    assert task.title == f"docstring ({corruption})"


def test_a_tokenizer_without_the_words_is_refused(tokens, monkeypatch):
    monkeypatch.setattr("ioi_lab.tasks.docstring.WORDS", ("store", "park"))
    with pytest.raises(LabError, match=r"task=docstring: .* has 2 of 2 words as single tokens, at least 13 are needed"):
        DocstringTask().prompt_pairs(tokens)
