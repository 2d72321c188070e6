"""Roles that heads of both models have: those of head_roles, on the training prompts of each."""

from __future__ import annotations

import logging

import pytest

from ioi_lab.interventions.transfer.role_pairs import roles_of, shared_roles
from tests.transfer.conftest import on_prompts


@pytest.mark.long
def test_the_tiny_models_share_a_subject_suppressor(tiny_models):
    source, target = on_prompts(tiny_models, n=96)
    of_source, of_target = (roles_of(model, range(4), 0) for model in (source, target))
    assert (2, 0) in of_source["subject suppressor"]
    assert of_target["subject suppressor"] == [(3, 0)]
    assert "subject suppressor" not in roles_of(target, range(3), 0)
    (role,) = (role for role in shared_roles(of_source, of_target) if role.name == "subject suppressor")
    assert (role.source_heads, role.target_heads) == (of_source[role.name], of_target[role.name])


def test_without_a_shared_role_a_line_says_what_is_done_instead(caplog):
    with caplog.at_level(logging.WARNING):
        assert shared_roles({"name mover": [(1, 2)]}, {}) == []
    (line,) = caplog.messages
    assert line == (
        "intervention.head_pairs: no role has heads in both models (source: name mover 1.2; target: none): the best "
        "heads by patching are paired instead"
    )
