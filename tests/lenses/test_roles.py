"""Roles from scores with known answers, of heads in both orders of the names."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.errors import LabError
from ioi_lab.lenses.roles import ORDERS, ROLES, Thresholds, heads_in_role, prompts_by_order
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.tasks.tokens import Tokens
from tests.conftest import ioi_task

THRESHOLDS = {"pattern": 0.4, "end": 0.3, "copying": 0.5, "direct": 0.1, "queries": 0.05, "backup": 0.2}
NAMES = (
    "previous_token_random previous_token_task duplicate_token_random duplicate_token_task induction_random "
    "induction_task end_to_io end_to_s end_to_s2 end_to_io_minus_s copying negative_copying negative_copying_s2 "
    "direct_logit_diff direct_distractor query_effect ablation_change direct_after_ablation"
).split()
HALF = 0.02
"""The half-width of every interval."""


def table(scores):
    """Scores by name, given those of each head; scores that are not given are 0."""
    values = {name: np.array([head.get(name, 0.0) for head in scores]) for name in NAMES}
    return {name: Estimate(value, value - HALF, value + HALF) for name, value in values.items()}


def heads(role, *scores, in_baba=None):
    """Return the heads that have a role, given the scores of each in both orders, or in BABA prompts others."""
    in_orders = {"abba": table(scores), "baba": table(scores if in_baba is None else in_baba)}
    named = [(0, head) for head in range(len(scores))]
    return [head for _, head in heads_in_role(role, in_orders, Thresholds.from_config(THRESHOLDS, "t"), named)]


MOVER = {"end_to_io": 0.3, "end_to_io_minus_s": 0.1, "copying": 0.5, "direct_logit_diff": 0.1}
SUPPRESSOR = {
    "end_to_s": 0.6, "end_to_io_minus_s": -0.5, "negative_copying_s2": 0.9, "direct_distractor": -0.2,
    "direct_logit_diff": 0.3,
}  # fmt: skip
WHOLE = {
    "previous token": {"previous_token_random": 0.4, "previous_token_task": 0.5},
    "duplicate token": {"duplicate_token_random": 0.4, "duplicate_token_task": 0.5},
    "induction": {"induction_random": 0.4, "induction_task": 0.5},
    "S-inhibition": {"end_to_s2": 0.5, "query_effect": 0.3},
    "negative name mover": {
        "end_to_io": 0.5, "end_to_io_minus_s": 0.4, "negative_copying": 0.9, "direct_logit_diff": -0.2,
    },
    "subject suppressor": SUPPRESSOR,
    "name mover": MOVER,
    "backup name mover": {"ablation_change": 0.3, "direct_after_ablation": 0.3, "copying": 0.6},
}  # fmt: skip
"""Scores that meet the criterion of each role."""


@pytest.mark.parametrize("role", ROLES)
def test_each_score_of_a_criterion_is_needed_in_both_orders(role):
    whole = WHOLE[role]
    lacking = [{**whole, name: 0.0} for name in whole]
    opposite = [{**whole, name: -value} for name, value in whole.items()]
    assert heads(role, whole, *lacking, *opposite, {}) == [0]
    for other in (*lacking, {}):
        assert heads(role, whole, in_baba=[other]) == []
        assert heads(role, other, in_baba=[whole]) == []


@pytest.mark.parametrize("role", ROLES)
def test_heads_have_only_the_role_that_they_meet(role):
    given = [other for other, scores in WHOLE.items() if heads(role, scores)]
    assert given == [role]


def test_an_effect_has_to_be_distinguishable_from_0():
    """Means that reach their thresholds with intervals that include 0 are not evidence; constants have no interval."""
    named, thresholds = [(0, 0)], Thresholds.from_config(THRESHOLDS, "t")
    for half, expected in ((10.0, []), (np.nan, named)):
        in_baba = {
            name: Estimate(part.value, part.value - half, part.value + half) for name, part in table([MOVER]).items()
        }
        assert heads_in_role("name mover", {"abba": table([MOVER]), "baba": in_baba}, thresholds, named) == expected


def test_a_head_that_attends_to_a_position_is_not_a_name_mover():
    """Head 0.3 of tiny-gpt2: IO .81, S .18 in ABBA prompts, the reverse in BABA prompts."""
    first = {**MOVER, "end_to_io": 0.81, "end_to_io_minus_s": 0.63, "direct_logit_diff": 0.38}
    second = {**first, "end_to_io": 0.18, "end_to_io_minus_s": -0.63, "direct_logit_diff": -0.38}
    assert heads("name mover", first) == [0]
    assert heads("name mover", first, in_baba=[second]) == heads("negative name mover", first, in_baba=[second]) == []


def test_a_backup_is_not_a_name_mover():
    steps_in = WHOLE["backup name mover"]
    less_negative = {**steps_in, "direct_after_ablation": -0.1}
    assert heads("backup name mover", steps_in, {**MOVER, **steps_in}, less_negative) == [0]


def test_no_evidence_no_role():
    unknown = dict.fromkeys(NAMES, np.nan)
    for role in ROLES:
        assert heads(role, {}, unknown) == []


def test_thresholds_are_shares():
    with pytest.raises(LabError, match=r"t\.end: got 1\.5, expected less than or equal to 1"):
        Thresholds.from_config(THRESHOLDS | {"end": 1.5}, "t")


def test_prompts_by_order(model):
    tokens = Tokens(model.tokens.tokenizer, prepend_bos=True)
    by_order = prompts_by_order(ioi_task(n=6).prompt_pairs(tokens))
    assert by_order == {"abba": [0, 2, 4], "baba": [1, 3, 5]}
    assert tuple(by_order) == ORDERS
