"""Steering runs against plain hooks and known answers: what is added, and what is measured of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import load_model
from ioi_lab.steering.contrasts import contrast_of
from ioi_lab.steering.methods import mean_difference
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tiny import tiny_folder
from tests.conftest import hugging_face, ioi_task, model_config, only_run_folder, run_folders
from tests.interventions.steer.command import metrics, results, steer, steering_rows
from tests.oracle import edited_end_logits


@pytest.mark.parametrize("site", ["z", "resid_pre"])
def test_a_run_equals_hooks_on_the_plain_model(sweep, tmp_path, site):
    """Split, vector, direction by prompt and result, each done again by hand."""
    assert steer(sweep, f"intervention.component={site}", "intervention.layer=2", "intervention.scale=[-2,3]").code == 0
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    contrast = contrast_of("answer_position", ioi_task(n=12).prompt_pairs(model.tokens), model.tokens, ("", ""), 0)
    at = Site(site, 2, 1 if site == "z" else None, "END")
    sides = Engine(model, contrast.training_sides)
    vector = mean_difference(*(activations_at(sides, run, [at])[at] for run in ("clean", "corrupted")))
    plain = hugging_face(tiny_folder("tiny-gpt2"))
    table = steering_rows(only_run_folder(tmp_path))
    if site == "z":
        table = table[table["head"] == 1]
    assert list(table["scale"]) == [-2, 3]
    for scale, expected in zip(table["scale"], table["logit_diff"], strict=True):
        logit_diffs = []
        for row, (pair, sign) in enumerate(zip(contrast.steered, contrast.signs, strict=True)):
            answer_is_first = pair.labels["IO"] < pair.labels["S1"]
            assert sign == (1 if answer_is_first else -1)
            edit = Edit(at, "add", torch.from_numpy(sign * vector).float(), scale)
            logits = edited_end_logits(plain, pair, row, [edit], "clean")
            logit_diffs.append(float(logits[pair.answer_id] - logits[pair.distractor_id]))
        assert np.mean(logit_diffs) == pytest.approx(expected, abs=1e-4)


@pytest.mark.long
def test_a_grid_gives_the_numbers_of_its_points(sweep, tmp_path):
    arguments = ["intervention.component=z", "intervention.controls=5"]
    grid = ["intervention.layer=[0,2]", "intervention.head=[0,3]", "intervention.scale=[-2,1]"]
    assert steer(sweep, "name=grid", *arguments, *grid).code == 0
    points = [choice.replace("[", "").replace("]", "") for choice in grid]
    assert steer(sweep, "-m", "name=points", *arguments, *points).code == 0
    (whole,) = (run for run in run_folders(tmp_path) if "grid" in run.parts)
    single = [steering_rows(run) for run in run_folders(tmp_path) if "points" in run.parts]
    assert len(single) == 8
    joined = pd.concat(single).sort_values(["layer", "head", "scale"]).reset_index(drop=True)
    expected = steering_rows(whole).sort_values(["layer", "head", "scale"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(joined, expected, rtol=0, atol=2e-5)


def test_residual_units_add_directions_as_long_as_the_stream(sweep, tmp_path):
    assert steer(sweep, "intervention.unit=residual", "intervention.scale=[0.5]", "intervention.layer=[2,3]").code == 0
    table = steering_rows(only_run_folder(tmp_path))
    assert list(table["added_norm"]) == pytest.approx(list(0.5 * table["site_norm"]))
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    contrast = contrast_of("answer_position", ioi_task(n=12).prompt_pairs(model.tokens), model.tokens, ("", ""), 0)
    site = Site("resid_pre", 3, None, "END")
    activations = Engine(model, contrast.steered).record("clean", [site])[site]
    ends = [activations[row, len(pair) - 1] for row, pair in enumerate(contrast.steered)]
    assert table["site_norm"][1] == pytest.approx(float(torch.stack(ends).norm(dim=-1).mean()), rel=1e-5)


def test_a_name_moves_tiny_gpt2_and_random_directions_do_not(sweep, tmp_path):
    outcome = steer(sweep, "intervention.contrast=name_pair", "task.n=32", "intervention.scale=[-2,-1,-0.5,0,0.5,1]")
    assert outcome.code == 0, outcome.err
    assert "tiny-gpt2 is steered by this direction" in outcome.out
    run = only_run_folder(tmp_path)
    values = metrics(run)
    assert (values["steers"], values["best_layer"], values["best_monotone"]) == (1, 3, 1)
    assert values["best_flipped"] == 1.0
    assert values["best_outside_band"] == 1
    assert values["control_flipped_highest"] < 0.2
    assert values["control_band_low"] < values["control_logit_diff_lowest"]
    assert values["best_slope_low"] < values["best_slope"] < values["best_slope_high"]
    assert values["n_prompts"] == values["n_training_prompts"] == 16
    table = results(run)
    assert len(table) == values["n_edits"] + 10 * 6
    assert set(table["direction"]) == {"steering", *(f"random {index}" for index in range(10))}
    unsteered = table[table["scale"] == 0]
    assert unsteered["logit_diff"].to_numpy() == pytest.approx(values["clean_logit_diff"], abs=1e-5)
    assert unsteered["flipped"].max() == 0
    assert unsteered["kl"].max() < 1e-6
    random = table[(table["direction"] != "steering") & (table["scale"] == 1)]
    ours = table[(table["direction"] == "steering") & (table["layer"] == 3) & (table["scale"] == 1)]
    assert random["added_norm"].to_numpy() == pytest.approx(ours["added_norm"].item())
    slopes = pd.read_csv(run / "slopes.csv")
    assert slopes["slope"].abs().idxmax() == 3
    assert slopes["efficiency"][3] == pytest.approx(
        slopes["slope"][3] * slopes["site_norm"][3] / slopes["added_norm"][3]
    )
    prompts = pd.read_csv(run / "prompts.csv")
    assert set(prompts["answer"]) == {" James", " Robert"}
    assert len(prompts) == 16


def test_a_vector_that_pushes_the_other_way_does_not_steer(sweep, tmp_path):
    """Turned around in its file, the vector of a name flips every prompt at the scales above 0 instead."""
    scales = "intervention.scale=[-1,-0.5,0.5,1]"
    arguments = ["intervention.contrast=name_pair", "intervention.layer=3", scales, "task.n=32"]
    assert steer(sweep, *arguments).code == 0
    file = only_run_folder(tmp_path) / "vectors.safetensors"
    with safe_open(file, "pt") as opened:
        provenance = opened.metadata()
    turned = {name: -vector for name, vector in load_file(file).items()}
    save_file(turned, tmp_path / "turned.safetensors", metadata=provenance)
    outcome = steer(sweep, *arguments, "intervention.vector=turned.safetensors", "name=turned")
    assert "warning: tiny-gpt2 is not steered by this direction: it pushes the other way" in outcome.out
    (run,) = (run for run in run_folders(tmp_path) if "turned" in run.parts)
    values = metrics(run)
    assert (values["best_flipped"], values["steers"]) == (1.0, 0)
    assert values["best_scale"] > 0


@pytest.mark.parametrize("method", ["pca", "logistic", "unembedding", "random"])
def test_each_method_makes_a_run(sweep, tmp_path, method):
    outcome = steer(sweep, f"intervention.method={method}", "intervention.layer=3", "task.n=32")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    values = metrics(run)
    # Each prompt's own unembedding direction cannot be kept as one vector.
    assert (run / "vectors.safetensors").exists() == (method != "unembedding")
    assert ("best_probe_accuracy" in values) == (method == "logistic")
    if method == "unembedding":
        assert values["best_slope_low"] > 0


def test_a_random_vector_is_as_long_as_the_mean_difference(sweep, tmp_path):
    for method in ("random", "mean_difference"):
        assert steer(sweep, f"intervention.method={method}", "intervention.layer=3", f"name={method}").code == 0
    norms = [metrics(run)["best_vector_norm"] for run in run_folders(tmp_path)]
    assert norms[0] == pytest.approx(norms[1])


def test_an_unembedding_direction_of_two_names_is_kept(sweep, tmp_path):
    arguments = ["intervention.method=unembedding", "intervention.contrast=name_pair", "intervention.layer=3"]
    assert steer(sweep, *arguments, "intervention.scale=[1]").code == 0
    run = only_run_folder(tmp_path)
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    ids = [model.tokens.single(name) for name in (" James", " Robert")]
    weights = hugging_face(tiny_folder("tiny-gpt2")).lm_head.weight
    expected = (weights[ids[0]] - weights[ids[1]]).detach()
    assert torch.allclose(load_file(run / "vectors.safetensors")["resid_pre.3.END"], expected, atol=1e-5)


@pytest.mark.parametrize("contrast", ["clean_corrupt", "name_pair"])
def test_a_probe_of_sides_that_hardly_differ_has_no_direction(sweep, contrast):
    """Heads of the first layers do not see the names, so that the probe finds nothing to read."""
    arguments = ["model=tiny-pythia", "intervention.component=z", "intervention.method=logistic"]
    outcome = steer(sweep, *arguments, f"intervention.contrast={contrast}", "task.n=32", "intervention.scale=[-1,1]")
    assert outcome.code == 0, outcome.err
    assert "RuntimeWarning" not in outcome.err


def test_rows_go_site_by_site_and_scale_by_scale(result):
    assert result.steered.logit_diff.shape == (6, 16)
    assert (result.best, result.rows(1), result.strongest) == (1, slice(3, 6), 1)
    assert result.strongest_row == 4
    assert result.controls.means.shape == (6, 3)
    assert result.controls.readout.logit_diff.shape == (18, 16)


def test_the_baselines_are_those_of_the_held_out_prompts(result):
    assert result.baselines.prompts == result.contrast.steered
    unsteered = result.steered.logit_diff[2]
    assert result.baselines.clean.logit_diff[0] == pytest.approx(unsteered, abs=1e-4)
    assert abs(result.checks.everything - 1) < 1e-3


def test_derived_numbers_follow_from_the_readouts(result):
    clean = result.baselines.clean.logit_diff[0]
    flipped = (result.steered.logit_diff > 0) != (clean > 0)
    assert result.estimates["flipped"].value == pytest.approx(flipped.mean(axis=1))
    signs = np.array(result.contrast.signs)
    assert result.flipped_by_side == {
        "positive": pytest.approx(flipped[4, signs > 0].mean()),
        "negative": pytest.approx(flipped[4, signs < 0].mean()),
    }
    # The three scales of layer 3 are not on a line, so that the slope is that of its narrowest range around 0.
    response = result.responses[1]
    scales = list(response.linear_scales)
    by_scale = {0.5: result.steered.logit_diff[3], -1.0: result.steered.logit_diff[4], 0.0: clean}
    fitted = np.polyfit(scales, np.stack([by_scale[scale] for scale in scales]), 1)[0].mean()
    assert result.slopes.value[1] == pytest.approx(fitted)
    step = result.steps[1]
    assert result.efficiency.value[1] == pytest.approx(fitted * step.site_norm / step.norm)
    other = 1 - result.steered.p_answer - result.steered.p_distractor
    assert result.p_other.value == pytest.approx(other[3:].mean(axis=1))


def test_the_verdict_is_that_it_steers(result):
    assert result.verdict.outcome == "steered"
    assert result.verdict.reasons == ()
