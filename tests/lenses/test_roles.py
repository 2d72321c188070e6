"""Roles from scores with known answers, of the heads of one layer."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.errors import LabError
from ioi_lab.lenses.roles import ROLES, Thresholds, heads_in_role

THRESHOLDS = {"pattern": 0.4, "end": 0.3, "copying": 0.5, "direct": 0.1, "queries": 0.05, "backup": 0.2}
NAMES = (
    "previous_token_random previous_token_task duplicate_token_random duplicate_token_task induction_random "
    "induction_task end_to_io end_to_s1 end_to_s2 copying negative_copying direct_answer direct_distractor "
    "query_effect ablation_change"
).split()


def heads(role, *scores):
    """Return the heads that have a role, given the scores of each; scores that are not given are 0."""
    table = {name: np.array([[head.get(name, 0.0) for head in scores]]) for name in NAMES}
    return [head for _, head in heads_in_role(role, table, Thresholds.from_config(THRESHOLDS, "t"))]


@pytest.mark.parametrize("role", ["previous token", "duplicate token", "induction"])
def test_patterns_need_both_kinds_of_evidence(role):
    name = role.replace(" ", "_")
    both = {f"{name}_random": 0.4, f"{name}_task": 0.5}
    assert heads(role, both, {f"{name}_random": 0.9}, {f"{name}_task": 0.9}, {}) == [0]


def test_a_name_mover_attends_copies_and_writes():
    whole = {"end_to_io": 0.3, "copying": 0.5, "direct_answer": 0.1}
    assert heads("name mover", whole, *({**whole, name: 0.01} for name in whole)) == [0]


def test_a_negative_name_mover_lowers_the_name_that_it_attends_to():
    against_io = {"end_to_io": 0.5, "negative_copying": 0.9, "direct_answer": -0.2}
    against_s = {"end_to_s2": 0.5, "negative_copying": 0.9, "direct_distractor": -0.2}
    lowers_the_other = {"end_to_io": 0.5, "negative_copying": 0.9, "direct_distractor": -0.2}
    raises = {"end_to_io": 0.5, "negative_copying": 0.9, "direct_answer": 0.2}
    copies = {**against_io, "negative_copying": 0.1}
    assert heads("negative name mover", against_io, against_s, lowers_the_other, raises, copies) == [0, 1]


def test_s_inhibition_needs_a_measured_path():
    whole = {"end_to_s2": 0.5, "query_effect": 0.3}
    unmeasured = {"end_to_s2": 0.5, "query_effect": np.nan}
    assert heads("S-inhibition", whole, unmeasured, {"end_to_s2": 0.5}, {"query_effect": 0.5}) == [0]


def test_a_backup_writes_the_answer_only_after_the_ablation_and_is_not_a_name_mover():
    steps_in = {"ablation_change": 0.3}
    less_negative = {"ablation_change": 0.3, "direct_answer": -0.4}
    mover = {"end_to_io": 0.5, "copying": 0.5, "direct_answer": 0.2, "ablation_change": 0.3}
    assert heads("backup name mover", steps_in, less_negative, mover, {}) == [0]


def test_no_evidence_no_role():
    for role in ROLES:
        assert heads(role, {}, dict.fromkeys(NAMES, np.nan)) == []


def test_thresholds_are_shares():
    with pytest.raises(LabError, match=r"t\.end: got 1\.5, expected less than or equal to 1"):
        Thresholds.from_config(THRESHOLDS | {"end": 1.5}, "t")
