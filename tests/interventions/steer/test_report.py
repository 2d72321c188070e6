"""The report of steering runs: figures, the lines of the terminal, and the columns of the table."""

from __future__ import annotations

import pytest

from tests.conftest import only_run_folder, run_folders
from tests.interventions.steer.command import metrics, results, steer, steering_rows


@pytest.mark.parametrize("model", ["tiny-gpt2", "tiny-pythia"])
def test_a_model_that_is_not_steered_is_reported_as_such(sweep, tmp_path, model):
    outcome = steer(sweep, f"model={model}", "task.n=32")
    assert outcome.code == 0
    assert f"warning: {model} is not steered by this direction: " in outcome.out
    assert "no scale flips more than half of the prompts with its whole interval" in outcome.out
    values = metrics(only_run_folder(tmp_path))
    assert values["steers"] == 0
    assert values["best_flipped"] < 0.5


def test_scales_that_cannot_flip_anything_are_reported(sweep):
    outcome = steer(sweep, "intervention.contrast=name_pair", "intervention.layer=3", "intervention.scale=1")
    assert "note: no scale pushes tiny-gpt2 away from what it prefers, so there is nothing to flip" in outcome.out


def test_figures_fit_the_grid(sweep, tmp_path):
    def figures(*arguments):
        assert steer(sweep, "figures=true", *arguments).code == 0
        return {path.stem for path in max(run_folders(tmp_path)).joinpath("plots").iterdir()}

    curves = {"logit_diff_by_scale", "probabilities_by_scale"}
    text = {"side_effects_by_scale", "efficiency_against_side_effect"}
    few = "intervention.scale=[-1,1]"
    assert figures(few) == curves | {"logit_diff_by_layer_and_scale"}
    assert figures(few, "intervention.component=z") == curves | {"slope_by_head"}
    assert figures(few, "intervention.layer=1", "intervention.side_effects=1") == curves | {"side_effects_by_scale"}
    assert figures(few, "intervention.layer=[1,2]", "intervention.side_effects=all") == (
        curves | text | {"logit_diff_by_layer_and_scale"}
    )
    assert figures(few, "intervention.head=['1.0','2.3']", "intervention.component=z") == curves
    assert figures("engine.readout=logit_diff", "intervention.layer=1", "intervention.scale=2") == {
        "logit_diff_by_scale"
    }


def test_side_effects_are_in_the_rows_that_they_belong_to(sweep, tmp_path):
    outcome = steer(sweep, "intervention.scale=[-3,0,3]", "intervention.side_effects=2")
    assert outcome.code == 0
    assert "ordinary text (tiny_english.txt) at that scale: next-token loss" in outcome.out
    run = only_run_folder(tmp_path)
    table = steering_rows(run)
    measured = table[table["text_loss_change"].notna()]
    assert len(measured) == 2 * 3
    assert metrics(run)["best_layer"] in set(measured["layer"])
    assert measured[measured["scale"] == 0]["text_loss_change"].abs().max() < 1e-6
    assert (measured[measured["scale"] == 0]["text_agreement"] == 1).all()
    assert (measured[measured["scale"] != 0]["text_agreement"] < 1).all()
    assert results(run)["text_agreement"].notna().sum() == 6


def test_a_probe_at_chance_is_reported(sweep):
    outcome = steer(sweep, "intervention.method=logistic", "intervention.layer=0", "task.n=32")
    assert outcome.code == 0
    assert "warning: the probe of layer 0 is at chance (0.50 [0.3" in outcome.out
    assert "warning: nothing to steer tiny-gpt2 with: the sides do not differ at these sites" in outcome.out


def test_a_probe_that_recognises_the_sides_is_reported(sweep, tmp_path):
    outcome = steer(sweep, "intervention.method=logistic", "intervention.contrast=name_pair", "intervention.layer=3")
    assert outcome.code == 0
    assert "the probe of layer 3 recognises the side of 1.00 [" in outcome.out
    assert metrics(only_run_folder(tmp_path))["best_probe_accuracy"] == 1.0
