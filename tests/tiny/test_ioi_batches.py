"""Prompts for the training of planted circuits: the same sentences as in the task, with names that are not held out."""

from __future__ import annotations

import re

import pytest
import torch

from ioi_lab.tasks.ioi_text import TEMPLATES
from ioi_lab.tiny.corpus import is_held_out
from ioi_lab.tiny.ioi_batches import IOISampler


def texts(tokenizer, tokens, end):
    return [tokenizer.decode(row[1 : last + 1]) for row, last in zip(tokens.tolist(), end.tolist(), strict=True)]


def people(text, template):
    """The names A, B and S of a sentence."""
    pattern = re.escape(template)
    for slot in ("A", "B", "S"):
        pattern = pattern.replace(rf"\{{{slot}\}}", rf"(?P<{slot}>\w+)")
    match = re.fullmatch(re.sub(r"\\{\w+\\}", r"\\w+", pattern), text)
    assert match is not None, text
    return match.group("A", "B", "S")


@pytest.mark.parametrize("held_out", [False, True])
def test_prompts_are_ioi_with_names_of_one_kind(tokenizer, held_out):
    batch = IOISampler(tokenizer, seed=1, held_out=held_out).batch(64)
    answers, distractors = (tokenizer.batch_decode(ids[:, None]) for ids in (batch.answer, batch.distractor))
    orders = set()
    for index, text in enumerate(texts(tokenizer, batch.tokens, batch.end)):
        a, b, s = people(text, TEMPLATES[index % len(TEMPLATES)])
        assert {a, b} == {answers[index].strip(), distractors[index].strip()}
        assert s == distractors[index].strip()
        assert is_held_out(a, b) == held_out
        orders.add(s == a)
    assert orders == {True, False}


def test_other_prompts_are_ioi_or_neutral_with_other_names(tokenizer):
    batch = IOISampler(tokenizer, seed=2).batch(64)
    pairs = zip(*(texts(tokenizer, ids, batch.end) for ids in (batch.tokens, batch.counterfactual)), strict=True)
    for index, (text, other) in enumerate(pairs):
        template = TEMPLATES[index % len(TEMPLATES)]
        names = people(other, template)
        assert not set(names) & set(people(text, template))
        assert len(set(names)) == (3 if batch.neutral[index] else 2)
    assert 10 < batch.neutral.sum() < 54
    assert IOISampler(tokenizer, seed=2).batch(16, neutral_share=1.0).neutral.all()


def test_a_seed_repeats_its_prompts(tokenizer):
    first, again, other = (IOISampler(tokenizer, seed=seed).batch(16).tokens for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
