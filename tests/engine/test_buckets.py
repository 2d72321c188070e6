from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site
from tests.engine.toy import bucket


def test_tokens_and_answers_are_those_of_the_rows():
    two = bucket((0, 2))
    assert (len(two), two.length) == (2, 5)
    assert two.index.tolist() == [0, 2]
    assert two.tokens("clean").tolist() == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    assert two.tokens("corrupted").tolist() == [[0, 1, 9, 3, 4], [0, 5, 6, 9, 8]]
    assert two.targets.ids.tolist() == [[5, 6], [7, 0]]


@pytest.mark.parametrize(
    ("position", "places"),
    [
        ("S2", [(0, 2), (1, 3)]),
        ("END", [(0, 4), (1, 4)]),
        (1, [(0, 1), (1, 1)]),
        (-2, [(0, 3), (1, 3)]),
        ("all", [(row, position) for row in range(2) for position in range(5)]),
    ],
)
def test_places_are_rows_in_the_bucket_and_positions(position, places):
    rows, positions = bucket((0, 2)).places(position)
    assert list(zip(rows.tolist(), positions.tolist(), strict=True)) == places


@pytest.mark.parametrize(
    ("edit", "end_only", "first"),
    [
        (Edit(Site("z", 0), "zero"), False, 0),
        (Edit(Site("z", 0, position="S2"), "zero"), False, 2),
        (Edit(Site("z", 0, position="S2"), "add", torch.ones(12)), False, 2),
        (Edit(Site("z", 0), "replace", FromPass("clean")), False, 0),  # the pass that is edited: no difference is known
        (Edit(Site("z", 0), "replace", FromPass("corrupted")), False, 2),  # the first token that differs in any prompt
        (Edit(Site("z", 0), "add", FromPass("corrupted")), False, 0),  # equal activations still add up
        (Edit(Site("z", 0, position=1), "replace", FromPass("corrupted")), False, 5),
        (Edit(Site("z", 0, position=2), "replace", FromPass("corrupted")), False, 2),
        (Edit(Site("z", 0, position="END"), "replace", FromPass("corrupted")), False, 4),
        (Edit(Site("z", 3), "zero"), True, 4),
        (Edit(Site("z", 3, position="S2"), "zero"), True, 5),
        (Edit(Site("z", 3, position="END"), "zero"), True, 4),
    ],
)
def test_the_first_position_that_an_edit_can_change(edit, end_only, first):
    assert bucket((0, 2)).first_change(edit, "clean", end_only=end_only) == first


def test_only_the_prompts_of_the_bucket_count():
    edit = Edit(Site("z", 0), "replace", FromPass("corrupted"))
    assert bucket((2,)).first_change(edit, "clean", end_only=False) == 3
