"""The plan and the report of patching, on readouts with known answers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import SELECTORS, Measurement
from ioi_lab.interventions.patch import Patch
from ioi_lab.models.shape import ModelShape
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.stats.metrics import Readout
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

SHAPE = ModelShape("toy", n_layers=2, n_heads=3, n_kv_heads=1, d_model=6, d_head=2, n_ctx=16)
PAIR = PromptPair("x", "y", " a", " b", (0, 1, 2), (0, 2, 1), 1, 2, {"S2": 1, "END": 2}, ("x", "y", "z"))
PROMPTS = PromptPairs([PAIR] * 4)
ENGINE = SimpleNamespace(shape=SHAPE, prompts=PROMPTS)  # all that a plan of patching asks of the engine


def patch(**changes):
    values = {
        "component": "z",
        "layer": "all",
        "head": "all",
        "position": "all",
        "sets": "each",
        "direction": "denoise",
    }
    return Patch.from_config({"name": "patch"} | values | changes, "intervention")


def readout(logit_diffs):
    """Each edit set's logit difference, the same for every prompt."""
    values = np.repeat(np.asarray(logit_diffs, dtype=float)[:, None], len(PROMPTS), axis=1)
    quarter = np.full_like(values, 0.25)
    return Readout(values, p_answer=quarter, p_distractor=quarter, kl=quarter)


def report(intervention, edited):
    measurement = Measurement(
        SHAPE, PROMPTS, "toy task", readout([3.0]), readout([-1.0]), readout(edited), Bootstrap(4, seed=0)
    )
    return intervention.report(measurement)


def test_plan_is_layer_then_head_then_position():
    plan = patch(layer=[1, 0], head=[2], position=["S2", -1]).plan(ENGINE)
    assert [edits[0].site for edits in plan] == [
        Site("z", 1, 2, "S2"), Site("z", 1, 2, -1), Site("z", 0, 2, "S2"), Site("z", 0, 2, -1),
    ]  # fmt: skip
    assert all(isinstance(edits[0], Edit) and edits[0].value == FromPass("clean") for edits in plan)


@pytest.mark.parametrize(
    ("direction", "base", "source"), [("denoise", "corrupted", "clean"), ("noise", "clean", "corrupted")]
)
def test_direction(direction, base, source):
    intervention = patch(direction=direction)
    assert intervention.base == base
    assert {edits[0].value for edits in intervention.plan(ENGINE)} == {FromPass(source)}


def test_titles():
    assert patch().title == "patch z"
    assert patch(component="mlp_out", direction="noise").title == "patch mlp_out (noise)"


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
    found = report(intervention, np.linspace(-1, 3, len(intervention.plan(ENGINE))))
    assert set(found.draw()) == {figure, "top_effects"}
    axes = found.draw()[figure].axes
    assert [ax.get_title() for ax in axes[: len(panels)]] == panels
    assert "toy, toy task, 4 prompts" in found.draw()[figure].get_suptitle()


def test_heads_by_name():
    plan = patch(head=["1.2", 0.1]).plan(ENGINE)
    assert [edits[0].site for edits in plan] == [Site("z", 1, 2), Site("z", 0, 1)]
    found = report(patch(head=["1.2", 0.1]), [3, -1])
    assert set(found.draw()) == {"top_effects"}  # two heads are no grid


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"head": ["2.0"]}, r"intervention.head: got 2.0, expected a head from 0.0 to 1.2 \(toy\)"),
        ({"head": "1.7"}, "intervention.head: got 1.7, expected a head from"),
        ({"head": "1.1", "component": "v"}, "intervention.head: got 1.1, expected a key/value head from 0.0 to 1.0"),
        ({"head": "1.2", "layer": 1}, "intervention.layer: got 1, but head names its layers already"),
        (
            {"component": "k", "head": 1},
            "intervention.head: got 1, expected 0 to 0 .* k is addressed by its 1 key/value",
        ),
        ({"sets": "except"}, "intervention.sets: got 'except' of everything"),
        ({"position": ["each", "S2"]}, "intervention.position: got .*each.* alone"),
    ],
)
def test_selectors_that_fit_nothing_are_told(changes, line):
    with pytest.raises(LabError, match=line):
        patch(**changes).plan(ENGINE)


def test_a_number_that_may_be_two_heads_is_told():
    shape = replace(SHAPE, n_heads=12)
    with pytest.raises(LabError, match=r"may be head 1 or 10; quote it: '1.1'"):
        patch(head=1.1).plan(SimpleNamespace(shape=shape, prompts=PROMPTS))
    plan = patch(head=[1.2, "1.10"]).plan(SimpleNamespace(shape=shape, prompts=PROMPTS))
    assert [edits[0].site.head for edits in plan] == [2, 10]


def test_sets_are_edited_together():
    (together,) = patch(head=["1.2", "0.1"], sets="together").plan(ENGINE)
    assert [edit.site for edit in together] == [Site("z", 1, 2), Site("z", 0, 1)]
    (rest,) = patch(head=["1.2", "0.1"], sets="except").plan(ENGINE)
    assert [(edit.site.layer, edit.site.head) for edit in rest] == [(0, 0), (0, 2), (1, 0), (1, 1)]
    found = report(patch(head=["1.2", "0.1"], sets="except", position=["S2", "END"]), [3, -1])
    assert found.table["sites"].tolist() == ["all but 1.2 0.1"] * 2
    assert found.table["position"].tolist() == ["S2", "END"]
    assert found.table["layer"].isna().all()
    assert found.draw()["top_effects"].axes[0].get_yticklabels()[0].get_text() == "all but 1.2 0.1 @ S2"


def test_key_value_heads_are_called_so():
    found = report(patch(component="v"), [3, -1])
    assert found.draw()["recovery_by_head"].axes[0].get_xlabel() == "key/value head"
    assert found.summary[0].startswith("top key/value heads by")
