"""The report of steering runs: figures, the lines of the terminal, and the columns of the table."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ioi_lab.interventions.steer.report import steering_report
from ioi_lab.runs.paired import paired_difference
from ioi_lab.stats.responses import Response
from tests.conftest import only_run_folder, run_folders
from tests.interventions.steer.by_hand import estimate, layers, steering
from tests.interventions.steer.command import metrics, results, steer, steering_rows
from tests.interventions.toy import CONTEXT


@pytest.mark.parametrize("model", ["tiny-gpt2", "tiny-pythia"])
def test_a_model_that_is_not_steered_is_reported_as_such(sweep, tmp_path, model):
    outcome = steer(sweep, f"model={model}", "task.n=32")
    assert outcome.code == 0
    assert f"warning: {model} is not steered by this direction: " in outcome.out
    assert "random directions of the same norm are as steep at their steepest site" in outcome.out
    assert "no scale flips more than half of the prompts with its whole interval" in outcome.out
    values = metrics(only_run_folder(tmp_path))
    assert values["steers"] == 0
    assert values["best_flipped"] < 0.5


def test_files_of_slopes_and_of_values_by_prompt(sweep, tmp_path):
    few = ("intervention.scale=[-1,0.5]", "intervention.controls=5", "task.n=32")
    outcome = steer(sweep, "intervention.contrast=name_pair", *few)
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    values, table = metrics(run), results(run)
    by_prompt = pd.read_parquet(run / "per_prompt.parquet")
    assert len(by_prompt) == len(table) * values["n_prompts"]
    means = by_prompt.groupby("row")[["logit_diff", "p_answer"]].mean()
    assert means["logit_diff"].to_numpy() == pytest.approx(table["logit_diff"].to_numpy())
    assert means["p_answer"].to_numpy() == pytest.approx(table["p_answer"].to_numpy())
    prompts = pd.read_csv(run / "prompts.csv")
    assert by_prompt["clean_logit_diff"][: len(prompts)].to_numpy() == pytest.approx(
        prompts["clean_logit_diff"].to_numpy()
    )
    slopes, random = pd.read_csv(run / "slopes.csv"), pd.read_csv(run / "random_slopes.csv")
    assert slopes["initial_slope"].abs().idxmax() == values["best_layer"] == 3
    assert (slopes["p_adjusted"] < 0.05).sum() == values["n_found"]
    assert slopes["beyond_random"].sum() == values["n_beyond_random"]
    assert len(random) == 5 * 4
    steepest = random["initial_slope"].abs().groupby(random["direction"]).max()
    assert steepest.max() == pytest.approx(values["control_steepest_highest"])
    assert slopes["beyond_random"][3] == (values["best_initial_slope"] > values["control_steepest_limit"])


def test_a_response_without_a_linear_range_has_no_slope_in_the_files():
    result = steering(layers(0, 1), [1.0, 2.0])
    bent = Response.of([-2.0, 1.0], np.array([[2.0] * 4, [2.0] * 4]), np.zeros(4))
    nan = estimate([1.0, np.nan])
    result = replace(result, responses=[result.responses[0], bent], slopes=nan, efficiency=nan)
    with_file = replace(result, steps=[replace(step, vector=None) for step in result.steps])
    report = steering_report(with_file, CONTEXT)
    slopes = pd.read_csv(io.BytesIO(report.files["slopes.csv"]))
    assert slopes.loc[1, ["slope", "efficiency", "linear_from", "linear_to", "monotone"]].isna().all()
    assert slopes.loc[0, ["slope", "efficiency", "linear_from", "linear_to", "monotone"]].tolist() == [1, 1, -2, 1, 1]
    assert slopes.loc[1, "initial_slope"] == 2
    assert report.metrics["best_has_linear_range"] == 0
    assert not {"best_slope", "best_efficiency", "best_linear_from", "best_monotone"} & set(report.metrics)


def test_runs_on_the_same_prompts_are_compared_prompt_by_prompt(sweep, tmp_path):
    """Edits that both have, without random directions, whose norms differ."""
    few = ("intervention.contrast=name_pair", "intervention.layer=[2,3]", "task.n=32", "intervention.controls=5")
    assert steer(sweep, *few, "intervention.scale=[-1,1]", "name=a").code == 0
    other = ("intervention.method=pca", "intervention.scale=[-1,2]")
    assert steer(sweep, *few, *other, "name=b").code == 0
    first, second = sorted(run_folders(tmp_path))
    paired = paired_difference(first, second)
    assert paired.n_prompts == 16
    assert paired.labels == [f"resid_pre layer {layer} position END scale -1.0" for layer in (2, 3)]
    one, two = (steering_rows(run).set_index(["layer", "scale"])["logit_diff"] for run in (first, second))
    expected = [two[layer, -1.0] - one[layer, -1.0] for layer in (2, 3)]
    assert paired.difference.value == pytest.approx(expected)


def test_scales_that_cannot_flip_anything_are_reported(sweep):
    outcome = steer(sweep, "intervention.contrast=name_pair", "intervention.layer=3", "intervention.scale=1")
    assert "note: no scale pushes tiny-gpt2 away from what it prefers, so there is nothing to flip" in outcome.out


@pytest.mark.long
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
    names = ("intervention.contrast=name_pair", "intervention.scale=[-0.25,0.25]")
    assert figures(*names, "intervention.layer=[2,3]", "intervention.side_effects=all") == (
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
