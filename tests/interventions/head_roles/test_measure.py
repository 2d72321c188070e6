"""The result of head roles on its own."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.knockout import Knockout
from ioi_lab.interventions.head_roles import measure
from ioi_lab.interventions.head_roles.measure import STRONG, measure_head_roles
from ioi_lab.interventions.head_roles.name_movers import QueryControl
from ioi_lab.interventions.head_roles.report import report_head_roles
from ioi_lab.lenses.roles import ORDERS, ROLES, Thresholds, heads_in_role, prompts_by_order
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("a model", "a task")
NO_EVIDENCE = Thresholds(pattern=1, end=1, copying=1, direct=1, queries=1, backup=1)
SIZES = {"n_sequences": 8, "n_controls": 20, "seed": 0}


def test_roles_follow_from_the_scores_of_the_result(result, engine):
    assert result.heads == list(np.ndindex(engine.shape.n_layers, engine.shape.n_heads))
    expected = {role: heads_in_role(role, result.scores, Thresholds(), result.heads) for role in ROLES}
    assert result.roles == expected
    for head in result.heads:
        assert result.roles_of(head) == [role for role, heads in result.roles.items() if head in heads]
    assert result.writers == result.roles["subject suppressor"]


def test_scores_by_order_are_those_of_the_prompts_of_that_order(result, engine):
    for order, prompts in prompts_by_order(engine.prompts).items():
        weights = measure.unedited_scores(engine, measure.direct_effects(engine, "clean"), 8, 0)["end_to_io"]
        expected = weights[..., prompts].mean(axis=-1).ravel()
        assert result.scores[order]["end_to_io"].value == pytest.approx(expected)
        assert result.score("end_to_io", result.heads[3], order) == pytest.approx(expected[3])


def test_strong_heads_without_a_role_are_ranked(engine):
    result = measure_head_roles(engine, NO_EVIDENCE, knockout=Knockout(engine, 4, 0), **SIZES)
    shares = [abs(result.score("direct_logit_diff", head)) for head in result.strong_without_role]
    assert len(shares) >= 3
    assert shares == sorted(shares, reverse=True)
    direct = result.scores["all"]["direct_logit_diff"]
    nearest = np.where(direct.value > 0, direct.low, -direct.high)  # the bound that is nearer to 0
    assert {result.heads[row] for row in np.flatnonzero(nearest > STRONG)} == set(result.strong_without_role)


def test_scores_have_bounds(result):
    for order in ("all", *ORDERS):
        for name, estimate in result.scores[order].items():
            known, bounded = np.isfinite(estimate.value), np.isfinite(estimate.low)
            assert not (bounded & ~known).any(), name
            assert bounded.any() == known.any(), name
            assert (estimate.low[bounded] <= estimate.value[bounded]).all()


def test_without_name_movers_their_scores_are_unknown_and_the_checks_are_run(engine):
    result = measure_head_roles(engine, NO_EVIDENCE, knockout=Knockout(engine, 4, 0), **SIZES)
    assert result.ablation is None
    assert result.query_control is None
    assert not any(result.roles.values())
    assert result.writers == result.paths_into_queries == []
    for name in ("query_effect", "ablation_change", "direct_after_ablation"):
        assert np.isnan(result.scores["all"][name].value).all()
    assert result.checks.everything == pytest.approx(1, abs=1e-3)
    report = report_head_roles(result, CONTEXT)
    assert report.summary[-1] == "no name movers, so none were knocked out"
    assert set(report.draw()) == {"circuit", "name_movers"}
    assert not any("change" in name for name in report.metrics)


def test_name_movers_lead_to_scores_by_their_queries_and_their_knockout(engine, monkeypatch):
    """As if heads 3.0 and 3.2 were name movers: heads before them are scored, and too few are left to compare with."""
    movers = [(3, 0), (3, 2)]
    assign = measure.heads_in_role

    def assigned(role, scores, thresholds, heads):
        return movers if role == "name mover" else assign(role, scores, thresholds, heads)

    monkeypatch.setattr(measure, "heads_in_role", assigned)
    result = measure_head_roles(engine, Thresholds(), knockout=Knockout(engine, 4, 0), **SIZES)
    attending = result.scores["all"]["end_to_s2"].value.reshape(4, 4)[:3] >= Thresholds().end
    first = int(np.argwhere(attending)[0, 0])
    measured = np.isfinite(result.scores["all"]["query_effect"].value.reshape(4, 4))
    assert measured[first:3].all()  # candidates, and all others from the first one's layer on as controls
    assert not measured[:first].any()
    assert not measured[3].any()
    others = [(int(layer), int(head)) for layer, head in np.argwhere(~attending) if layer >= first]
    assert result.query_control == QueryControl(others, None)
    assert result.roles["S-inhibition"] == []
    assert result.ablation is not None
    for control in result.ablation.controls.values():
        assert control.effect is None
    lines = report_head_roles(result, CONTEXT).summary
    n = len(result.query_control.heads)
    assert f"too few heads to find S-inhibition: {n} heads to compare their paths with, 20 are needed" in lines
    assert any(
        line.startswith("  too few random other heads of the same layers to compare with: 1 diff") for line in lines
    )
    change, before = (result.scores["all"][name].value for name in ("ablation_change", "direct_logit_diff"))
    assert result.scores["all"]["direct_after_ablation"].value == pytest.approx(before + change)
