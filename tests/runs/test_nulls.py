from __future__ import annotations

import pytest

from ioi_lab.runs.nulls import Unedited, edits_clean, null_value, unedited


@pytest.mark.parametrize(
    ("metric", "intervention", "expected"),
    [
        ("best_recovery", {"name": "patch", "direction": "denoise"}, 0.0),
        ("best_recovery", {"name": "patch", "direction": "noise"}, 1.0),
        ("best_recovery", {"name": "ablate", "prompts": "clean"}, 1.0),
        ("best_recovery", {"name": "steer"}, 1.0),
        ("recovery", {"name": "wang2022"}, 1.0),
        ("best_recovery_kl", {"name": "patch", "direction": "noise"}, 1.0),
        ("best_recovery_kl", {"name": "patch", "direction": "denoise"}, 0.0),
        ("best_efficiency", {"run": "clean"}, 0.0),
        ("best_initial_slope", {}, 0.0),
        ("forward_share_of_native", {}, 0.0),
        ("name_movers_change", {}, 0.0),
        ("best_logit_diff", {}, None),
        ("clean_accuracy", {}, None),
        ("best_to_S1+1", {}, None),
        ("n_edits", {}, None),
    ],
)
def test_effects_have_a_null_value_and_levels_have_none(metric, intervention, expected):
    assert null_value(metric, intervention) == expected


def test_noising_and_ablations_edit_the_clean_pass():
    assert edits_clean({"direction": "noise"})
    assert edits_clean({"run": "clean"})
    assert not edits_clean({"direction": "denoise", "prompts": "corrupted"})


def test_levels_are_changes_for_edits_alone():
    metrics = {"clean_logit_diff": 3.0, "corrupted_logit_diff": -2.0}
    patched = unedited("best_logit_diff", {"name": "patch", "direction": "denoise"}, metrics)
    assert patched == Unedited(-2.0, "the unedited corrupted run")
    assert unedited("logit_diff", {"name": "logit_lens"}, metrics) is None
