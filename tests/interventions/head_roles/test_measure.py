"""The result of head roles on its own."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.interventions.head_roles.measure import STRONG, measure_head_roles
from ioi_lab.interventions.head_roles.report import report_head_roles
from ioi_lab.lenses.roles import NAME_MOVER, ROLES, Thresholds, heads_in_role
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("a model", "a task")
NO_EVIDENCE = Thresholds(pattern=1, end=1, copying=1, direct=1, queries=1, backup=1)


def test_roles_follow_from_the_scores_of_the_result(result, engine):
    shape = engine.shape.n_layers, engine.shape.n_heads
    assert result.heads == list(np.ndindex(shape))
    means = {name: estimate.value.reshape(shape) for name, estimate in result.scores.items()}
    assert result.roles == {role: heads_in_role(role, means, Thresholds()) for role in ROLES}
    assert result.roles[NAME_MOVER]
    for head in result.heads:
        assert result.roles_of(head) == [role for role, heads in result.roles.items() if head in heads]
        assert result.score("copying", head) == means["copying"][head]
    assert set(result.writers) >= set(result.roles[NAME_MOVER])
    assert all(sender[0] < mover[0] for sender, mover in result.paths_into_queries)


def test_strong_heads_without_a_role_are_ranked(result):
    shares = [abs(result.score("direct_logit_diff", head)) for head in result.strong_without_role]
    assert shares == sorted(shares, reverse=True)
    missing = set(result.heads) - set(result.strong_without_role)
    assert min(shares) >= STRONG
    for head in missing:
        assert result.roles_of(head) or abs(result.score("direct_logit_diff", head)) < STRONG


def test_scores_have_bounds_if_they_are_over_prompts(result):
    for name, estimate in result.scores.items():
        known, bounded = np.isfinite(estimate.value), np.isfinite(estimate.low)
        assert not (bounded & ~known).any(), name
        assert bounded.any() == (known.any() and not name.endswith("_random")), name
        if "copying" in name:
            assert bounded.all()  # shares of 0 and 1 too
        assert (estimate.low[np.isfinite(estimate.low)] <= estimate.value[np.isfinite(estimate.low)]).all()


def test_without_name_movers_their_scores_are_unknown_and_the_checks_are_run(engine):
    result = measure_head_roles(engine, NO_EVIDENCE, n_sequences=2, n_controls=3, seed=0)
    assert result.ablation is None
    assert not any(result.roles.values())
    assert result.writers == result.paths_into_queries == []
    for name in ("query_effect", "ablation_change"):
        assert np.isnan(result.scores[name].value).all()
        assert np.isnan(result.scores[name].low).all()
    assert result.checks.everything == pytest.approx(1, abs=1e-3)
    report = report_head_roles(result, CONTEXT)
    assert report.summary[-1] == "no name movers, so none were ablated"
    assert set(report.draw()) == {"circuit", "name_movers"}
    assert not any("change" in name for name in report.metrics)
