"""The report of a grid, on readouts with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.reports.report import SELECTORS
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import Discoveries, HeldOutTop
from tests.interventions.toy import CONTEXT, ToyEngine, patch, plan_of, report


def test_report_ranks_by_size_of_effect():
    found = report(patch(), [-1, -1, 1, -3.4, -1, -1.2])
    assert found.table["recovery"].to_numpy() == pytest.approx([0, 0, 0.5, -0.6, 0, -0.05])
    assert [found.metrics[f"best_{key}"] for key in ("row", "layer", "head")] == [3, 1, 0]
    assert found.metrics["best_recovery"] == pytest.approx(-0.6)
    assert found.metrics["clean_logit_diff"] == 3.0
    assert found.metrics["corrupted_accuracy"] == 0.0
    assert [line.split()[0] for line in found.summary[1:]] == ["1.0", "0.2", "1.2", "0.0", "0.1"]
    ax = found.draw()["recovery_by_head"].axes[0]
    assert ax.images[0].get_array().tolist() == pytest.approx(np.array([[0, 0, 0.5], [-0.6, 0, -0.05]]))


def test_maps_label_the_rows_and_columns_that_they_show():
    found = report(patch(layer=[1, 0], head=[2, 0]), [3, -1, 1, -1])
    ax = found.draw()["recovery_by_head"].axes[0]
    shown = {
        (row.get_text(), column.get_text()): ax.images[0].get_array()[i, j]
        for i, row in enumerate(ax.get_yticklabels())
        for j, column in enumerate(ax.get_xticklabels())
    }
    assert shown == pytest.approx({("1", "2"): 1.0, ("1", "0"): 0.0, ("0", "2"): 0.5, ("0", "0"): 0.0})


def test_noising_ranks_by_distance_from_clean():
    found = report(patch(direction="noise"), [3, 3, 3, -1, 1, 3])
    assert found.metrics["best_recovery"] == pytest.approx(0.0)
    assert found.summary[0].startswith(
        "largest heads by change of recovery (0 = clean, −1 = corrupted), no intervals (fewer than 8 prompts"
    )
    assert [line.split() for line in found.summary[1:3]] == [["1.0", "-1.000"], ["1.1", "-0.500"]]
    bars = found.draw()["top_effects"].axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([-1.0, -0.5])


def report_of(found):
    """The report of six heads, with intervals, of which some are found."""
    intervention = patch()
    result = intervention.measure(ToyEngine([-1, -1, 1, -3.4, -1, -1.2]))
    value = result.effect.value
    p_values = np.where(found, 0.001, 0.5)
    top = HeldOutTop(3, Estimate(value[[3]], value[[3]] - 0.1, value[[3]] + 0.1))
    result = replace(
        result,
        effect=Estimate(value, value - 0.2, value + 0.2),
        discoveries=Discoveries(p_values, p_values, np.array(found), top),
    )
    return intervention.report(result, CONTEXT)


def test_only_what_is_found_is_listed_outlined_and_in_full_colour():
    found = report_of([False, False, True, True, False, False])
    assert found.summary[0] == (
        "top heads by recovery of the logit difference (0 = corrupted, 1 = clean), with 95 % intervals over prompts:"
    )
    assert [line.split()[0] for line in found.summary[1:3]] == ["1.0", "0.2"]
    assert found.summary[3:] == [
        "2 of 6 effects are distinguishable from 0 (t-test over prompts, Benjamini–Hochberg at 5 %)",
        "the largest on half of the prompts, 1.0, measured on the other half: -0.600 [-0.700, -0.500]",
    ]
    assert found.table["p_adjusted"].tolist() == [0.5, 0.5, 0.001, 0.001, 0.5, 0.5]
    assert (found.metrics["n_found"], found.metrics["best_p_adjusted"], found.metrics["held_out_row"]) == (2, 0.001, 3)
    assert found.metrics["held_out_effect_low"] == pytest.approx(-0.7)
    ax = found.draw()["recovery_by_head"].axes[0]
    assert (ax.images[0].get_alpha() < 0.5).tolist() == [[True, True, False], [False, True, True]]
    assert {(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in ax.patches} == {(0, 2), (1, 0)}
    assert [text.get_text() for text in ax.texts] == ["0.50", "−0.60"]


def test_a_null_result_reads_as_one():
    found = report_of([False] * 6)
    first, largest = found.summary
    assert first == (
        "no effect beyond chance: none of 6 effects is distinguishable from 0 (t-test over prompts, Benjamini–Hochberg "
        "at 5 %); the largest, by recovery of the logit difference (0 = corrupted, 1 = clean), with its 95 % interval "
        "over prompts:"
    )
    assert largest.split()[0] == "1.0"
    assert found.metrics["n_found"] == 0
    for figure in found.draw().values():
        assert all(patch.get_facecolor()[3] < 0.5 for patch in figure.axes[0].patches)  # none is an outline
        assert not figure.axes[0].texts
    assert "outlined" not in found.draw()["recovery_by_head"].get_suptitle()


def test_a_position_that_all_sites_share_is_in_every_title():
    found = report(patch(position="S2"), [-1, -1, 1, -3.4, -1, -1.2])
    titles = [figure.get_suptitle() for figure in found.draw().values()]
    assert len(titles) == 2
    assert all("at S2" in title and "denoise: clean → corrupted" in title for title in titles)
    assert "largest heads at S2 by recovery" in found.summary[0]


def test_selector_columns():
    table = report(patch(component="resid_pre", position="each"), range(6)).table
    assert list(table.columns[:5]) == list(SELECTORS)
    assert table["head"].isna().all()
    assert table["position"].tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "figure", "panels"),
    [
        ({}, "recovery_by_head", [""]),
        ({"position": ["S2", "END"]}, "recovery_by_head", ["S2", "END"]),
        ({"component": "mlp_out", "position": "each"}, "recovery_by_position", [""]),
        ({"component": "mlp_out"}, "recovery_by_layer", [""]),
    ],
)
def test_figures_follow_the_grid(changes, figure, panels):
    intervention = patch(**changes)
    found = report(intervention, np.linspace(-1, 3, len(plan_of(intervention, ToyEngine()))))
    assert set(found.draw()) == {figure, "top_effects"}
    axes = found.draw()[figure].axes
    assert [ax.get_title() for ax in axes[: len(panels)]] == panels
    assert "toy, toy task, 4 prompts" in found.draw()[figure].get_suptitle()


def test_key_value_heads_are_called_so():
    found = report(patch(component="v"), [3, -1])
    assert found.draw()["recovery_by_head"].axes[0].get_xlabel() == "key/value head"
    assert found.summary[0].startswith("largest key/value heads by")
