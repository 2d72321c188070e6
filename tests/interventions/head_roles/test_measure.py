"""The result of head roles on its own, and the report that reads it."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.head_roles.measure import STRONG, measure_head_roles
from ioi_lab.interventions.head_roles.report import report_head_roles
from ioi_lab.lenses.roles import NAME_MOVER, ROLES, Thresholds, heads_in_role
from ioi_lab.models.loading import load_model
from ioi_lab.reports.report import ReportContext
from tests.conftest import ioi_task, model_config

CONTEXT = ReportContext("a model", "a task")
NO_EVIDENCE = Thresholds(pattern=1, end=1, copying=1, direct=1, queries=1, backup=1)


@pytest.fixture(scope="module")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=12).prompt_pairs(model.tokens))


@pytest.fixture(scope="module")
def result(engine):
    return measure_head_roles(engine, Thresholds(), n_sequences=2, n_controls=3, seed=0)


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
        known = np.isfinite(estimate.value)
        assert (np.isfinite(estimate.low) == (known & (not name.endswith("_random")))).all(), name
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


def test_table_metrics_figures_and_sentences_read_the_same_fields(result):
    report = report_head_roles(result, CONTEXT)
    ablation = result.ablation
    assert report.metrics["name_movers_change"] == ablation.change.value[0]
    line = next(line for line in report.summary if line.startswith("  name movers ("))
    change, low, high = (part[0] for part in (ablation.change.value, ablation.change.low, ablation.change.high))
    assert line.endswith(f"): {change:.2f} [{low:.2f}, {high:.2f}]")
    bars = report.draw()["ablation"].axes[0]
    assert bars.patches[0].get_width() == change
    for name, control in ablation.controls.items():
        assert report.metrics[f"n_sets_{name}"] == len(control.sets)
        assert report.metrics[f"n_heads_{name}"] == control.n_heads
        assert report.metrics[f"{name}_lowest_change"] <= report.metrics[f"{name}_change"]
        assert report.metrics[f"{name}_highest_change"] >= report.metrics[f"{name}_change"]
    roles = dict(zip(result.heads, report.table["roles"], strict=True))
    assert {head: "; ".join(result.roles_of(head)) for head in result.heads} == roles


def test_controls_that_a_model_cannot_offer_are_reported_as_missing(engine):
    """With low thresholds all heads of the name movers' layers have a role."""
    low = Thresholds(pattern=0, end=0, copying=0, direct=0, queries=0, backup=0)
    result = measure_head_roles(engine, low, n_sequences=2, n_controls=3, seed=0)
    roleless = result.ablation.controls["roleless"]
    assert (roleless.sets, roleless.effect, roleless.n_heads) == ([], None, 0)
    report = report_head_roles(result, CONTEXT)
    assert report.metrics["n_sets_roleless"] == 0
    assert "roleless_change" not in report.metrics
    assert "  random heads of the same layers without a role (no set): there are none" in report.summary
    report.draw()
