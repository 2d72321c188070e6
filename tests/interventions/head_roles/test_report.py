"""The report of head roles reads the fields of its result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch

from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.head_roles.measure import HeadRolesResult
from ioi_lab.interventions.head_roles.name_movers import Control, ControlEffect, NameMoverAblation, QueryControl
from ioi_lab.interventions.head_roles.report import COLOURS, SHOWN_SCORES, STRONG_SCORES, report_head_roles
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.lenses.roles import NAME_MOVER, ROLES, S_INHIBITION
from ioi_lab.stats.bootstrap import Estimate
from tests.interventions.toy import CONTEXT as TOY
from tests.interventions.toy import ToyEngine

HEADS = [(layer, head) for layer in range(2) for head in range(3)]
MOVERS = [(1, 0), (1, 2)]


def estimate(*values, half=0.5):
    return Estimate(np.array(values), np.array(values) - half, np.array(values) + half)


def control_effect(change, difference):
    return ControlEffect(estimate(change), change - 1, change + 1, estimate(difference), p_value=0.125)


SETS = [[(1, 1), (0, 0)], [(1, 1), (0, 1)]]


@pytest.fixture
def by_hand():
    """A result whose scores are distinct numbers, in each order."""
    names = dict.fromkeys(name for shown in SHOWN_SCORES.values() for name in shown)
    names |= dict.fromkeys(STRONG_SCORES)

    def scores(shift):
        distinct = {name: estimate(*(index + shift + np.arange(6) / 8)) for index, name in enumerate(names)}
        return distinct | {
            "end_to_io": estimate(*(shift + np.array([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]))),
            "direct_logit_diff": estimate(*(shift + np.array([0.01, 0.02, np.nan, 0.6, -0.4, 0.3]))),
        }

    roles = {role: [] for role in ROLES} | {"induction": [(0, 1)], S_INHIBITION: [(0, 2), (0, 1)], NAME_MOVER: MOVERS}
    controls = {
        "roleless": Control([[(1, 1)]], control_effect(-0.5, -2.5)),
        "others": Control(SETS, control_effect(-1.0, -2.0)),
    }
    return HeadRolesResult(
        baselines=Baselines.measure(ToyEngine()),
        checks=SelfChecks(1.0, 0.0),
        heads=HEADS,
        scores={"all": scores(0.0), "abba": scores(0.25), "baba": scores(-0.25)},
        roles=roles,
        strong_without_role=[(1, 1)],
        query_control=QueryControl([(0, 0), (0, 1)], 0.0625),
        ablation=NameMoverAblation(estimate(-3.0), controls),
    )


def test_a_row_per_head_and_order_has_all_its_roles_and_scores(by_hand):
    table = report_head_roles(by_hand, TOY).table
    assert list(zip(table["layer"], table["head"], strict=True)) == 3 * HEADS
    assert table["order"].tolist() == [order for order in ("all", "abba", "baba") for _ in HEADS]
    roles = ["", "induction; S-inhibition", "S-inhibition", "name mover", "", "name mover"]
    assert table["roles"].tolist() == 3 * roles
    assert table["end_to_io"].tolist()[:6] == [0.0, 0.125, 0.25, 0.5, 0.75, 1.0]
    assert table["end_to_io"].tolist()[6:12] == [0.25, 0.375, 0.5, 0.75, 1.0, 1.25]
    assert table["end_to_io_low"][3] == 0.0


def test_metrics_count_roles_and_compare_the_knockout(by_hand):
    metrics = report_head_roles(by_hand, TOY).metrics
    counts = {name: metrics[f"n_{name}"] for name in ("induction", "S-inhibition", "name_mover", "backup_name_mover")}
    assert counts == {"induction": 1, "S-inhibition": 2, "name_mover": 2, "backup_name_mover": 0}
    assert (metrics["name_movers_change"], metrics["name_movers_change_low"]) == (-3.0, -3.5)
    assert (metrics["roleless_change"], metrics["name_movers_minus_roleless"]) == (-0.5, -2.5)
    assert (metrics["others_lowest_change"], metrics["others_highest_change"]) == (-2.0, 0.0)
    assert metrics["others_p_value"] == 0.125
    assert (metrics["n_query_controls"], metrics["query_bound"]) == (2, 0.0625)
    sizes = [metrics[f"n_{kind}_{name}"] for name in ("roleless", "others") for kind in ("sets", "heads")]
    assert sizes == [1, 1, 2, 2]


def test_the_summary_lists_heads_by_role_with_their_scores_in_both_orders(by_hand):
    lines = report_head_roles(by_hand, TOY).summary
    assert lines[0].startswith("roles, with scores in ABBA | BABA prompts")
    assert [line.strip().rstrip(": ") for line in lines if line.startswith("  ") and line[2] != " "][:8] == [
        "previous token: none", "duplicate token: none", "induction", "S-inhibition", "negative name mover: none",
        "subject suppressor: none", "name mover", "backup name mover: none",
    ]  # fmt: skip
    start = lines.index("  name mover: ")
    for line, head in zip(lines[start + 1 : start + 3], MOVERS, strict=True):
        scores = [
            f"{name} {by_hand.score(name, head, 'abba'):.2f} | {by_hand.score(name, head, 'baba'):.2f}"
            for name in SHOWN_SCORES[NAME_MOVER]
        ]
        assert line == f"    {head[0]}.{head[1]}    {', '.join(scores)}"
    assert any(
        line.startswith("S-inhibition heads need a mean query_effect above the largest of 2 random heads, 0.062")
        for line in lines
    )
    strong = next(line for line in lines if line.startswith("    1.1"))
    assert strong.startswith("    1.1    direct_logit_diff -0.15 | -0.65, end_to_io 1.00 | 0.50, end_to_s1 ")
    share = "share of sets, the name movers included, with as large a loss: 0.125"
    assert lines[-5:] == [
        "  name movers (1.0, 1.2): -3.00 [-3.50, -2.50]",
        "  random heads of the same layers without a role (1 set of 1): -0.50 [-1.00, 0.00]",
        f"  name movers minus these: -2.50 [-3.00, -2.00]; {share}",
        "  random other heads of the same layers (2 sets of 2): -1.00 [-1.50, -0.50]",
        f"  name movers minus these: -2.00 [-2.50, -1.50]; {share}",
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


def test_the_scatter_has_all_heads_in_both_orders_and_0_for_effects_that_are_unknown(by_hand):
    axes = report_head_roles(by_hand, TOY).draw()["name_movers"].axes
    assert [ax.get_title() for ax in axes] == ["ABBA: IO is named first", "BABA: S is named first"]
    for ax, order in zip(axes, ("abba", "baba"), strict=True):
        points = ax.collections[-1].get_offsets()
        assert points[:, 0].tolist() == by_hand.scores[order]["end_to_io"].value.tolist()
        effects = by_hand.scores[order]["direct_logit_diff"].value
        assert points[:, 1].tolist() == np.nan_to_num(effects).tolist()


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


def test_controls_that_a_model_cannot_offer_are_reported_as_too_few(by_hand):
    controls = {"roleless": Control([], None), "others": Control(SETS, None)}
    few = replace(
        by_hand,
        ablation=replace(by_hand.ablation, controls=controls),
        query_control=QueryControl([(0, 0)], None),
    )
    report = report_head_roles(few, TOY)
    assert report.metrics["n_sets_roleless"] == 0
    assert "roleless_change" not in report.metrics
    assert "query_bound" not in report.metrics
    assert report.summary[-2:] == [
        "  too few random heads of the same layers without a role to compare with: 0 different sets, 20 are needed",
        "  too few random other heads of the same layers to compare with: 2 different sets, 20 are needed",
    ]
    assert "too few heads to find S-inhibition: 1 head to compare their paths with, 20 are needed" in report.summary
    assert set(report.draw()) == {"circuit", "name_movers"}  # nothing to compare the name movers with
