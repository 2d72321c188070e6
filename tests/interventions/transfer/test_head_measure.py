"""Derived numbers of swapped heads, recomputed from the readout of each edit alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ioi_lab.interventions.transfer.head_measure import AT_EQUAL_LENGTH, _verdict
from ioi_lab.models.heads import head_name
from ioi_lab.transfer.heads import MEAN, OWN, ZERO, Role
from tests.interventions.transfer.conftest import measured_heads


def test_recoveries_shares_and_margins(heads):
    swap, result, checks = heads
    engine = swap.target.held_out
    clean, corrupted = (engine.baseline(which).logit_diff[0] for which in ("clean", "corrupted"))
    moved = {name: engine.run([edits], "corrupted").logit_diff[0] - corrupted for name, edits in swap.edits.items()}
    gap = (clean - corrupted).mean()
    recovery = {name: change.mean() / gap for name, change in moved.items()}
    assert result.names == list(moved)
    assert result.recovery.value == pytest.approx(list(recovery.values()), abs=1e-4)
    assert result.shares.value == pytest.approx(
        [change.mean() / moved[OWN].mean() for change in moved.values()], abs=1e-3
    )
    own, mean, chosen = (moved[name].mean() for name in (OWN, MEAN, "2.0"))
    assert result.share_beyond_mean.value == pytest.approx([(chosen - mean) / (own - mean)], abs=1e-3)
    assert result.margins.value == pytest.approx([recovery["2.0"] - each for each in recovery.values()], abs=1e-4)
    others = {name: value for name, value in recovery.items() if name not in (OWN, MEAN, ZERO, "2.0")}
    assert result.others is not None
    assert result.others.mean_recovery == pytest.approx(np.mean(list(others.values())), abs=1e-4)
    assert [result.names[row] for row in result.others.rows[:1]] == [max(others, key=lambda name: others[name])]
    assert result.n_others == len(others) == 7
    assert result.own_recovers == (result.recovery.low[result.own_row] > 0)
    assert (checks.everything, checks.nothing) == (pytest.approx(1, abs=1e-3), pytest.approx(0, abs=1e-3))


def test_unbeaten_controls_are_those_without_a_sure_margin(heads):
    _, result, _ = heads
    controls = [name for name in result.names if name not in (OWN, "2.0")]
    unsure = {name for name in controls if not result.margins.low[result.names.index(name)] > 0}
    assert set(result.unbeaten) == unsure
    margins = result.equal_length.margins
    assert set(AT_EQUAL_LENGTH) <= margins.keys()
    assert result.unbeaten_at_equal_length == [name for name in AT_EQUAL_LENGTH if not margins[name].low[0] > 0]
    assert result.verdict == _verdict(result.unbeaten, result.unbeaten_at_equal_length)


def test_controls_at_equal_length_are_measured_in_the_chosen_place(heads):
    """The image of the chosen head in each other layer, by plain edits: less the mean there, averaged over layers."""
    swap, result, _ = heads
    engine = swap.target.held_out
    clean, corrupted = (engine.baseline(which).logit_diff[0] for which in ("clean", "corrupted"))

    def recovery(edits):
        return (engine.run([edits], "corrupted").logit_diff[0] - corrupted).mean() / (clean - corrupted).mean()

    in_place = recovery(swap.edits["2.0"]) - recovery(swap.edits[MEAN])
    edits = swap.controls.in_other_layers(swap.replaced, swap.chosen)
    elsewhere = np.mean([recovery(image) - recovery(mean) for mean, image in zip(edits[::3], edits[1::3], strict=True)])
    assert result.equal_length.levels["other_layers"].value == pytest.approx([elsewhere], abs=1e-4)
    assert result.equal_length.margins["other_layers"].value == pytest.approx([in_place - elsewhere], abs=1e-4)
    idle = [recovery(swap.edits[head_name(head)]) - recovery(swap.edits[MEAN]) for head in swap.controls.idle.of_source]
    assert result.equal_length.levels["idle_heads"].value == pytest.approx([np.mean(idle)], abs=1e-4)


@pytest.mark.parametrize(
    ("unbeaten", "at_equal_length", "verdict"),
    [
        ([], [], "beats every control"),
        ([], ["other_layers"], "beats other heads, mean and zero"),
        (["1.2"], [], "beats mean and zero"),
        (["1.2"], ["other_layers"], "beats mean and zero"),
        ([MEAN, "1.2"], [], "beats not even mean and zero"),
        ([ZERO], ["idle_heads"], "beats not even mean and zero"),
    ],
)
def test_verdicts(unbeaten, at_equal_length, verdict):
    assert _verdict(unbeaten, at_equal_length) == verdict


def test_every_head_of_the_source_is_in_the_map_of_heads(heads):
    swap, result, _ = heads
    assert result.source_layers == [2, 3]
    for (layer, head), _ in swap.recoveries[0].items():
        row = result.names.index(f"{layer}.{head}")
        beyond = result.recovery.value[row] - result.recovery.value[result.mean_row]
        assert result.beyond_mean[result.source_layers.index(layer), head] == beyond


def test_heads_that_add_nothing_to_the_mean_are_found_out(heads):
    """Student's t over prompts, corrected for all heads of the source."""
    _, result, _ = heads
    logit_diff = result.by_prompt.readout.logit_diff
    changes = [logit_diff[result.names.index(name)] - logit_diff[result.mean_row] for name in result.names[3:]]
    p_values = stats.false_discovery_control([stats.ttest_1samp(change, 0).pvalue for change in changes])
    assert result.beyond_mean_not_found.ravel().tolist() == (p_values >= 0.05).tolist()


@pytest.mark.parametrize(
    ("changes", "comes_over"),
    [
        ({}, True),
        ({"own_recovers": False}, False),
        ({"verdict": "beats mean and zero"}, False),
        ({"verdict": "beats other heads, mean and zero"}, False),
        ({"chosen": "idle"}, False),
        ({"low": -0.1}, False),
        ({"low": np.nan}, False),
    ],
)
def test_an_effect_comes_over_only_with_one_to_transfer_and_more_than_every_control(heads, changes, comes_over):
    _, result, _ = heads
    low = np.full(len(result.names), changes.get("low", 0.1))
    recovery = replace(result.recovery, low=low)
    good = {"own_recovers": True, "verdict": "beats every control", "estimates": {"recovery": recovery}}
    if "chosen" in changes:
        changes = {"chosen": result.equal_length.idle.of_source[0]}
    assert (
        replace(result, **good | {key: value for key, value in changes.items() if key != "low"}).comes_over
        == comes_over
    )


def test_the_best_heads_are_chosen_by_patching(tiny_models):
    swap, result, _ = measured_heads(tiny_models, (None, None))
    assert result.source_patching_recovery == max(swap.recoveries[0].values())
    assert result.patching_recovery == max(swap.recoveries[1].values())
    assert result.map_r2 == pytest.approx(0.1 * (result.chosen[0] + result.replaced[0]))


def test_heads_of_the_same_role_are_no_controls(tiny_models):
    role = Role("subject suppressor", [(2, 0), (2, 1), (3, 1)], [(3, 0)])
    swap, result, _ = measured_heads(tiny_models, (None, None), [role])
    assert result.role == "subject suppressor"
    assert (result.chosen in role.source_heads, result.replaced) == (True, (3, 0))
    assert {"2.0", "2.1", "3.1"}.isdisjoint(result.unbeaten)
    unsure = {name for name, low in zip(result.names, result.margins.low, strict=True) if not low > 0}
    assert set(result.unbeaten) == unsure - {OWN, "2.0", "2.1", "3.1"}
    assert result.others is not None
    assert result.n_others == len(swap.names) - 4  # they are shown nevertheless
