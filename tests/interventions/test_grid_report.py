"""The report of a grid, on readouts with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports.report import SELECTORS
from tests.interventions.toy import ToyEngine, patch, plan_of, report


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
    assert found.summary[0].startswith("top heads by change of recovery (0 = clean, −1 = corrupted), no intervals")
    assert [line.split() for line in found.summary[1:3]] == [["1.0", "-1.000"], ["1.1", "-0.500"]]
    bars = found.draw()["top_effects"].axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([-1.0, -0.5])


def test_a_position_that_all_sites_share_is_in_every_title():
    found = report(patch(position="S2"), [-1, -1, 1, -3.4, -1, -1.2])
    titles = [figure.get_suptitle() for figure in found.draw().values()]
    assert len(titles) == 2
    assert all("at S2" in title and "denoise: clean → corrupted" in title for title in titles)
    assert "top heads at S2 by recovery" in found.summary[0]


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
    assert found.summary[0].startswith("top key/value heads by")
