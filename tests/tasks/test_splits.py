"""Splits of prompts whose parts share no name, against all splits of the names of small cases."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.splits import split_by_names
from tests.conftest import ioi_task, model_config

names = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda pair: pair[0] != pair[1]), min_size=1,
                 max_size=12)  # fmt: skip


def prompts_of(pairs):
    return PromptPairs(
        [
            PromptPair("x", "y", (" a",), (" b",), (0, 1), (0, 2), (answer,), (distractor,), {"END": 1}, ("x", "y"))
            for answer, distractor in pairs
        ]
    )


def best_fit(pairs, share):
    """How well the best of all splits of the names fits, as the share of the prompts that both parts have."""
    of = sorted({name for pair in pairs for name in pair})
    fits = []
    for sides in product((False, True), repeat=len(of)):
        side = dict(zip(of, sides, strict=True))
        second = sum(side[answer] and side[distractor] for answer, distractor in pairs)
        first = sum(not side[answer] and not side[distractor] for answer, distractor in pairs)
        fits.append(min(first / (1 - share), second / share) / len(pairs))
    return max(fits)


@settings(max_examples=40, deadline=None)
@given(pairs=names, share=st.sampled_from([0.25, 0.5, 0.75]), seed=st.integers(0, 3))
def test_no_name_is_on_both_sides_and_nearly_all_prompts_are_used(pairs, share, seed):
    best = best_fit(pairs, share)
    if best == 0:
        with pytest.raises(
            LabError, match=rf"^intervention\.eval_share: got {share}, but the {len(pairs)} prompts cannot"
        ):
            split_by_names(prompts_of(pairs), share, seed)
        return
    first, second = split_by_names(prompts_of(pairs), share, seed)
    sides = [{name for row in rows for name in pairs[row]} for rows in (first, second)]
    assert first
    assert second
    assert not sides[0] & sides[1]
    assert not set(first) & set(second)
    assert min(len(first) / (1 - share), len(second) / share) / len(pairs) >= 0.6 * best


def test_prompts_of_the_task_have_other_names(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    prompts = ioi_task(n=40).prompt_pairs(model.tokens)
    first, second = split_by_names(prompts, 0.5, 0)
    sides = [
        {name for row in rows for name in (prompts[row].answer, prompts[row].distractor)} for rows in (first, second)
    ]
    assert not sides[0] & sides[1]
    assert min(len(first), len(second)) >= 8
    assert split_by_names(prompts, 0.5, 0) == (first, second)
    assert split_by_names(prompts, 0.5, 1) != (first, second)


def test_prompts_with_one_pair_of_names_cannot_be_split():
    with pytest.raises(LabError, match=r"^intervention\.eval_share: got 0\.5, but the 3 prompts cannot be split"):
        split_by_names(prompts_of([(1, 2)] * 3), 0.5, 0)
