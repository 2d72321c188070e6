from __future__ import annotations

import pytest

from ioi_lab.circuits.random_sets import random_sets

HEADS = [(layer, head) for layer in range(3) for head in range(4)]


def test_sets_have_as_many_heads_at_each_position():
    chosen = [(2, 0, "END"), (2, 1, "END"), (1, 2, "S2")]
    drawn = random_sets(chosen, HEADS, 30, seed=0)
    assert len(drawn) == 30
    for each in drawn:
        assert sorted(position for *_, position in each) == ["END", "END", "S2"]
        assert len(set(each)) == 3
        assert {(layer, head) for layer, head, _ in each} <= set(HEADS)
    assert len({tuple(each) for each in drawn}) == 30
    assert drawn == random_sets(chosen, HEADS, 30, seed=0)


def test_every_head_is_as_likely_as_any_other():
    """Of 12 heads, each is in a third of the sets of four; all sets differ."""
    drawn = random_sets([(0, head, "all") for head in range(4)], HEADS, 300, seed=0)
    shares = [sum((*head, "all") in each for each in drawn) / len(drawn) for head in HEADS]
    assert shares == pytest.approx([1 / 3] * 12, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_a_set_is_never_the_chosen_one(seed):
    """There are three pairs of three heads, and one of them is chosen."""
    drawn = random_sets([(0, 0, 1), (0, 1, 1)], [(0, 0), (0, 1), (0, 2)], 10, seed)
    assert sorted(drawn) == [[(0, 0, 1), (0, 2, 1)], [(0, 1, 1), (0, 2, 1)]]
