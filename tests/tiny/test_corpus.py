from __future__ import annotations

import random
from itertools import combinations

import pytest

from ioi_lab.tasks.ioi_text import NAMES
from ioi_lab.tiny.corpus import is_held_out, sentences


@pytest.fixture(scope="module")
def corpus():
    return sentences(5000, seed=0)


def names_in(text):
    words = {word.strip(".,") for word in text.split()}
    return sorted(words & set(NAMES))


def test_held_out_pairs_never_meet(corpus):
    for text in corpus:
        assert not any(is_held_out(*pair) for pair in combinations(names_in(text), 2)), text


def test_one_pair_in_five_is_held_out_whatever_the_order():
    pairs = list(combinations(NAMES, 2))
    assert 0.18 < sum(is_held_out(*pair) for pair in pairs) / len(pairs) < 0.22
    assert all(is_held_out(a, b) == is_held_out(b, a) for a, b in random.Random(0).sample(pairs, 200))


def test_there_are_sentences_with_one_two_and_three_names(corpus):
    counts = [len(names_in(text)) for text in corpus]
    for count in (1, 2, 3):
        assert counts.count(count) > 300


def test_the_same_seed_gives_the_same_text():
    assert sentences(20, seed=1) == sentences(20, seed=1) != sentences(20, seed=2)


def test_every_name_is_in_the_text(corpus):
    assert {name for text in corpus for name in names_in(text)} == set(NAMES)
