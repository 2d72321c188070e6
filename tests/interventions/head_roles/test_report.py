"""The report of head roles reads the fields of its result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch

from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.head_roles.measure import HeadRolesResult, measure_head_roles
from ioi_lab.interventions.head_roles.name_movers import Control, ControlEffect, NameMoverAblation
from ioi_lab.interventions.head_roles.report import COLOURS, SHOWN_SCORES, report_head_roles
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.lenses.roles import NAME_MOVER, ROLES, S_INHIBITION, Thresholds
from ioi_lab.reports.report import ReportContext
from ioi_lab.stats.bootstrap import Estimate
from tests.interventions.toy import CONTEXT as TOY
from tests.interventions.toy import ToyEngine

CONTEXT = ReportContext("a model", "a task")
HEADS = [(layer, head) for layer in range(2) for head in range(3)]
MOVERS = [(1, 0), (1, 2)]


def estimate(*values, half=0.5):
    return Estimate(np.array(values), np.array(values) - half, np.array(values) + half)


def score(*values):
    """A score without intervals, as those on random tokens have."""
    return estimate(*values, half=np.nan)


def control_effect(change, difference):
    return ControlEffect(estimate(change), change - 1, change + 1, estimate(difference))


@pytest.fixture
def by_hand():
    """A result whose scores are distinct numbers."""
    names = dict.fromkeys(name for shown in SHOWN_SCORES.values() for name in shown)
    scores = {name: score(*(index + np.arange(6) / 8)) for index, name in enumerate(names)}
    scores["end_to_io"] = estimate(0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
    scores["direct_answer"] = estimate(0.5, -0.25, np.nan, 0.75, 0.0, 0.25)
    scores["direct_logit_diff"] = estimate(0.01, 0.02, 0.03, 0.6, -0.4, 0.3)
    roles = {role: [] for role in ROLES} | {"induction": [(0, 1)], S_INHIBITION: [(0, 2), (0, 1)], NAME_MOVER: MOVERS}
    controls = {
        "roleless": Control([[(1, 1)]], control_effect(-0.5, -2.5)),
        "others": Control([[(1, 1), (0, 0)], [(1, 1), (0, 1)]], control_effect(-1.0, -2.0)),
    }
    return HeadRolesResult(
        baselines=Baselines.measure(ToyEngine()),
        checks=SelfChecks(1.0, 0.0),
        heads=HEADS,
        scores=scores,
        roles=roles,
        strong_without_role=[(1, 1)],
        ablation=NameMoverAblation(estimate(-3.0), controls),
    )


def test_a_row_per_head_has_all_its_roles_and_scores(by_hand):
    table = report_head_roles(by_hand, TOY).table
    assert list(zip(table["layer"], table["head"], strict=True)) == HEADS
    assert table["roles"].tolist() == ["", "induction; S-inhibition", "S-inhibition", "name mover", "", "name mover"]
    assert table["end_to_io"].tolist() == [0.0, 0.125, 0.25, 0.5, 0.75, 1.0]
    assert table["end_to_io_low"][3] == 0.0
    assert table["copying_low"].isna().all()


def test_metrics_count_roles_and_compare_the_ablation(by_hand):
    metrics = report_head_roles(by_hand, TOY).metrics
    counts = {name: metrics[f"n_{name}"] for name in ("induction", "S-inhibition", "name_mover", "backup_name_mover")}
    assert counts == {"induction": 1, "S-inhibition": 2, "name_mover": 2, "backup_name_mover": 0}
    assert (metrics["name_movers_change"], metrics["name_movers_change_low"]) == (-3.0, -3.5)
    assert (metrics["roleless_change"], metrics["name_movers_minus_roleless"]) == (-0.5, -2.5)
    assert (metrics["others_lowest_change"], metrics["others_highest_change"]) == (-2.0, 0.0)
    assert [metrics[f"n_{kind}_{name}"] for name in ("roleless", "others") for kind in ("sets", "heads")] == [
        1,
        1,
        2,
        2,
    ]


def test_the_summary_lists_heads_by_role_with_their_scores(by_hand):
    lines = report_head_roles(by_hand, TOY).summary
    assert lines[0] == "roles, with the scores that they rest on:"
    assert [line.strip().rstrip(": ") for line in lines if line.startswith("  ") and line[2] != " "][:7] == [
        "previous token: none", "duplicate token: none", "induction", "S-inhibition", "negative name mover: none",
        "name mover", "backup name mover: none",
    ]  # fmt: skip
    start = lines.index("  name mover: ")
    for line, head in zip(lines[start + 1 : start + 3], MOVERS, strict=True):
        scores = [f"{name} {by_hand.score(name, head):.2f}" for name in ("end_to_io", "copying", "direct_answer")]
        assert line == f"    {head[0]}.{head[1]}    {', '.join(scores)}"
    assert "strong without a role (share of the logit difference written directly): 1.1 (-0.40)" in lines
    assert lines[-5:] == [
        "  name movers (1.0, 1.2): -3.00 [-3.50, -2.50]",
        "  random heads of the same layers without a role (1 set of 1): -0.50 [-1.00, 0.00]",
        "  random other heads of the same layers (2 sets of 2): -1.00 [-1.50, -0.50]",
        "  name movers minus random heads of the same layers without a role (1 set of 1): -2.50 [-3.00, -2.00]",
        "  name movers minus random other heads of the same layers (2 sets of 2): -2.00 [-2.50, -1.50]",
    ]


def test_the_diagram_has_a_box_per_role_and_arrows_for_paths_and_writers(by_hand):
    figure = report_head_roles(by_hand, TOY).draw()["circuit"]
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.texts]
    assert sorted(text for text in texts if "." in text) == ["0.1", "0.1", "0.2", "1.0", "1.2"]
    assert texts.count("none") == list(by_hand.roles.values()).count([])
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 2 * 2 + 2  # from each S-inhibition head to each name mover, and from these to the logits
    assert set(COLOURS) == set(ROLES)
    assert figure.get_suptitle() == "Heads by role and layer\ntoy, toy task, 4 prompts"


def test_the_scatter_has_all_heads_and_0_for_effects_that_are_unknown(by_hand):
    points = report_head_roles(by_hand, TOY).draw()["name_movers"].axes[0].collections[0].get_offsets()
    assert points[:, 0].tolist() == by_hand.scores["end_to_io"].value.tolist()
    assert points[:, 1].tolist() == [0.5, -0.25, 0.0, 0.75, 0.0, 0.25]


def test_bars_compare_the_name_movers_with_controls_that_there_are(by_hand):
    bars = report_head_roles(by_hand, TOY).draw()["ablation"].axes[0]
    assert [bar.get_width() for bar in bars.patches] == [-3.0, -0.5, -1.0]
    assert [label.get_text().split("\n")[0] for label in bars.get_yticklabels()] == [
        "name movers", "random heads", "random other",
    ]  # fmt: skip
    controls = by_hand.ablation.controls | {"roleless": Control([], None)}
    without = replace(by_hand, ablation=replace(by_hand.ablation, controls=controls))
    assert [bar.get_width() for bar in report_head_roles(without, TOY).draw()["ablation"].axes[0].patches] == [
        -3.0,
        -1.0,
    ]
    assert set(report_head_roles(replace(by_hand, ablation=None), TOY).draw()) == {"circuit", "name_movers"}


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
