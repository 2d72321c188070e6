"""Steering from the command line: what is added, what is reported, and what happens when it is asked for wrongly."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from steering_vectors import SteeringVector

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.steer.config import added
from ioi_lab.models.loading import load_model
from ioi_lab.steering.contrasts import contrast_of
from ioi_lab.steering.methods import mean_difference
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tiny import tiny_folder
from tests.conftest import hugging_face, ioi_task, model_config, only_run_folder, run_folders
from tests.oracle import edited_end_logits, tokens


def steer(sweep, *arguments):
    """Without side effects unless they are asked for: they take most of the time."""
    return sweep("tracker=none", "intervention=steer", "task.n=12", "intervention.side_effects=0", *arguments)


def results(run):
    return pd.read_csv(run / "results.csv")


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


def steering_rows(run):
    table = results(run)
    return table[table["direction"] == "steering"].reset_index(drop=True)


# What is added


@pytest.mark.parametrize("position", ["all", "END"])
def test_it_equals_the_steering_vectors_package(model, folder, position):
    prompts = ioi_task(n=6).prompt_pairs(model.tokens)
    check_against_steering_vectors(Engine(model, prompts), hugging_face(folder), range(model.shape.n_layers), position)


@torch.no_grad()
def check_against_steering_vectors(engine, plain, layers, position):
    """The logits of answer and distractor with one vector added behind each layer in turn, at two scales."""
    vector = 2 * torch.randn(engine.shape.d_model, generator=torch.Generator().manual_seed(0))
    directions = vector.double().numpy()[None].repeat(len(engine.prompts), axis=0)
    scales = [-1.5, 2.0]
    for layer in layers:
        readout = engine.run(added(Site("resid_post", layer, None, position), directions, scales), "clean")
        assert readout.answer_logit is not None
        assert readout.distractor_logit is not None
        for row, pair in enumerate(engine.prompts):
            for index, scale in enumerate(scales):
                first = 0 if position == "all" else len(pair) - 1
                steering = SteeringVector({layer: vector}, "decoder_block")
                with steering.apply(plain, multiplier=scale, min_token_index=first):
                    logits = plain(tokens(pair, "clean")).logits[0, -1]
                got = readout.answer_logit[index, row], readout.distractor_logit[index, row]
                expected = logits[[pair.answer_id, pair.distractor_id]].tolist()
                assert list(got) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("site", ["z", "resid_pre"])
def test_a_run_equals_hooks_on_the_plain_model(sweep, tmp_path, site):
    """Split, vector, direction by prompt and result, each done again by hand."""
    assert steer(sweep, f"intervention.site={site}", "intervention.layer=2", "intervention.scale=[-2,3]").code == 0
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


def test_a_grid_gives_the_numbers_of_its_points(sweep, tmp_path):
    arguments = ["intervention.site=z", "intervention.controls=5"]
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
    held = Engine(model, contrast.steered).record("clean", [site])[site]
    ends = [held[row, len(pair) - 1] for row, pair in enumerate(contrast.steered)]
    assert table["site_norm"][1] == pytest.approx(float(torch.stack(ends).norm(dim=-1).mean()), rel=1e-5)


# What is reported


def test_a_name_moves_tiny_gpt2_and_random_directions_do_not(sweep, tmp_path):
    outcome = steer(sweep, "intervention.contrast=name_pair", "task.n=32", "intervention.scale=[-2,-1,-0.5,0,0.5,1]")
    assert outcome.code == 0, outcome.err
    assert "tiny-gpt2 is steered by this direction" in outcome.out
    run = only_run_folder(tmp_path)
    found = metrics(run)
    assert (found["steers"], found["best_layer"], found["best_monotone"]) == (1, 3, 1)
    assert found["best_flipped"] == 1.0
    assert found["best_outside_band"] == 1
    assert found["control_flipped_highest"] < 0.2
    assert found["control_band_low"] < found["control_logit_diff_lowest"]
    assert found["best_slope_low"] < found["best_slope"] < found["best_slope_high"]
    assert found["n_prompts"] == found["n_training_prompts"] == 16
    table = results(run)
    assert len(table) == found["n_edits"] + 10 * 6
    assert set(table["direction"]) == {"steering", *(f"random {index}" for index in range(10))}
    unsteered = table[table["scale"] == 0]
    assert unsteered["logit_diff"].to_numpy() == pytest.approx(found["clean_logit_diff"], abs=1e-5)
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


@pytest.mark.parametrize("model", ["tiny-gpt2", "tiny-pythia"])
def test_a_model_that_is_not_steered_is_said_not_to_be(sweep, tmp_path, model):
    outcome = steer(sweep, f"model={model}", "task.n=32")
    assert outcome.code == 0
    assert f"warning: {model} is not steered by this direction: " in outcome.out
    assert "no scale surely flips most prompts" in outcome.out
    found = metrics(only_run_folder(tmp_path))
    assert found["steers"] == 0
    assert found["best_flipped"] < 0.5


def test_a_vector_that_pushes_the_other_way_is_no_steering(sweep, tmp_path):
    """Turned around in its file, the vector of a name flips every prompt at the scales above 0 instead."""
    arguments = ["intervention.contrast=name_pair", "intervention.layer=3", "intervention.scale=[-1,-0.5,0.5,1]"]
    assert steer(sweep, *arguments).code == 0
    file = only_run_folder(tmp_path) / "vectors.safetensors"
    with safe_open(file, "pt") as opened:
        provenance = opened.metadata()
    turned = {name: -vector for name, vector in load_file(file).items()}
    save_file(turned, tmp_path / "turned.safetensors", metadata=provenance)
    outcome = steer(sweep, *arguments, "intervention.vector=turned.safetensors", "name=turned")
    assert "warning: tiny-gpt2 is not steered by this direction: it pushes the other way" in outcome.out
    (run,) = (run for run in run_folders(tmp_path) if "turned" in run.parts)
    found = metrics(run)
    assert (found["best_flipped"], found["steers"]) == (1.0, 0)
    assert found["best_scale"] > 0


def test_scales_that_cannot_flip_anything_are_said_to(sweep):
    outcome = steer(sweep, "intervention.contrast=name_pair", "intervention.layer=3", "intervention.scale=1")
    assert "note: no scale pushes tiny-gpt2 away from what it prefers, so there is nothing to flip" in outcome.out


def test_figures_fit_the_grid(sweep, tmp_path):
    def figures(*arguments):
        assert steer(sweep, *arguments).code == 0
        return {path.stem for path in max(run_folders(tmp_path)).joinpath("plots").iterdir()}

    curves = {"logit_diff_by_scale", "probabilities_by_scale"}
    text = {"side_effects_by_scale", "efficiency_against_side_effect"}
    few = "intervention.scale=[-1,1]"
    assert figures(few) == curves | {"logit_diff_by_layer_and_scale"}
    assert figures(few, "intervention.site=z") == curves | {"slope_by_head"}
    assert figures(few, "intervention.layer=1", "intervention.side_effects=1") == curves | {"side_effects_by_scale"}
    assert figures(few, "intervention.layer=[1,2]", "intervention.side_effects=all") == (
        curves | text | {"logit_diff_by_layer_and_scale"}
    )
    assert figures(few, "intervention.head=['1.0','2.3']", "intervention.site=z") == curves
    assert figures("engine.readout=logit_diff", "intervention.layer=1", "intervention.scale=2") == {
        "logit_diff_by_scale"
    }


def test_side_effects_stand_beside_the_points_that_they_belong_to(sweep, tmp_path):
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


@pytest.mark.parametrize("method", ["pca", "logistic", "unembedding", "random"])
def test_methods(sweep, tmp_path, method):
    outcome = steer(sweep, f"intervention.method={method}", "intervention.layer=3", "task.n=32")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    found = metrics(run)
    # Each prompt's own unembedding direction cannot be kept as one vector.
    assert (run / "vectors.safetensors").exists() == (method != "unembedding")
    assert ("best_probe_accuracy" in found) == (method == "logistic")
    if method == "unembedding":
        assert found["best_slope_low"] > 0


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


def test_a_probe_at_chance_is_told(sweep):
    outcome = steer(sweep, "intervention.method=logistic", "intervention.layer=0", "task.n=32")
    assert outcome.code == 0
    assert "warning: the probe of layer 0 is at chance (0.50 [0.3" in outcome.out
    assert "warning: nothing to steer tiny-gpt2 with: the sides do not differ at these sites" in outcome.out


def test_a_probe_that_tells_the_sides_is_told(sweep, tmp_path):
    outcome = steer(sweep, "intervention.method=logistic", "intervention.contrast=name_pair", "intervention.layer=3")
    assert outcome.code == 0
    assert "the probe of layer 3 tells the sides of 1.00 [" in outcome.out
    assert metrics(only_run_folder(tmp_path))["best_probe_accuracy"] == 1.0


# A saved vector


@pytest.fixture
def saved(sweep, tmp_path):
    assert steer(sweep, "name=first", "intervention.layer=[1,2]", "intervention.scale=[-2,2]").code == 0
    return only_run_folder(tmp_path)


def test_a_vector_says_where_it_is_from_and_does_the_same_again(sweep, tmp_path, saved):
    with safe_open(saved / "vectors.safetensors", "pt") as file:
        provenance = file.metadata()
    assert provenance["kind"] == "steering vectors"
    assert provenance["model"] == "tiny-gpt2"
    assert (provenance["method"], provenance["contrast"]) == ("mean_difference", "answer_position")
    assert provenance["task"] == "ioi (s2)"
    assert json.loads(provenance["sites"])["resid_pre.2.END"]["layer"] == 2
    norm = float(load_file(saved / "vectors.safetensors")["resid_pre.2.END"].norm())
    assert json.loads(provenance["sites"])["resid_pre.2.END"]["norm"] == pytest.approx(norm)
    file = saved / "vectors.safetensors"
    arguments = ["name=again", "intervention.layer=2", "intervention.scale=[-2,2]", f"intervention.vector={file}"]
    assert steer(sweep, *arguments).code == 0
    (again,) = (run for run in run_folders(tmp_path) if "again" in run.parts)
    first = steering_rows(saved)
    names = set(json.loads(provenance["training_names"]))
    prompts = pd.read_csv(again / "prompts.csv")
    assert not names & {*prompts["answer"], *prompts["distractor"]}
    assert set(prompts["clean"]) == set(pd.read_csv(saved / "prompts.csv")["clean"])
    expected = first[first["layer"] == 2]["logit_diff"].to_numpy()
    assert steering_rows(again)["logit_diff"].to_numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["model=tiny-pythia"], r"is of another model (tiny-gpt2); expected one of tiny-pythia"),
        (["intervention.layer=3"], "has no vector for resid_pre.3.END; it has resid_pre.1.END, resid_pre.2.END"),
        (
            ["intervention.method=pca", "intervention.layer=2"],
            "was made with method=mean_difference, but intervention.method is pca; add "
            "intervention.method=mean_difference",
        ),
        (["intervention.contrast=clean_corrupt"], "was made with contrast=answer_position"),
        (["intervention.site=z"], "of shape [128]; expected [32], the width of z in tiny-gpt2"),
    ],
)
def test_a_vector_of_something_else_is_refused(sweep, saved, arguments, line):
    outcome = steer(sweep, f"intervention.vector={saved / 'vectors.safetensors'}", *arguments)
    assert outcome.code == 1
    assert outcome.error_line.startswith("error: intervention.vector: ")
    assert line in outcome.error_line


def test_a_file_that_holds_no_vectors_is_refused(sweep, tmp_path):
    save_file({"x": torch.zeros(3)}, tmp_path / "x.safetensors")
    outcome = steer(sweep, "intervention.vector=x.safetensors")
    assert outcome.error_line.endswith("holds a file that no run of this lab has left; expected steering vectors")
    (tmp_path / "y.safetensors").write_text("nothing")
    outcome = steer(sweep, "intervention.vector=y.safetensors")
    assert "y.safetensors' as safetensors" in outcome.error_line


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["intervention.scale=nan"], "intervention.scale: got nan, expected 'all' or a finite number"),
        (
            ["intervention.scale=[1,inf]"],
            "intervention.scale: got [1, inf], expected 'all' or a valid number or a finite number",
        ),
        (["intervention.scale=[]"], "intervention.scale: got [], expected"),
        (["intervention.controls=4"], "intervention.controls: got 4, expected greater than or equal to 5"),
        (["intervention.site=q"], "intervention.site: got 'q', expected 'resid_pre', 'resid_post' or 'z'"),
        (["intervention.head=1"], "intervention.head: got 1, but resid_pre has no heads; expected 'all'"),
        (["intervention.method=median"], "intervention.method: got 'median', expected 'mean_difference', 'pca'"),
        (
            ["intervention.site=z", "intervention.method=unembedding"],
            "intervention.method: got 'unembedding', a direction of the residual stream, but the site is z",
        ),
        (["intervention.names=[James]", "intervention.contrast=name_pair"], "intervention.names: got ['James']"),
        (
            ["intervention.names=[James,Xanthippe]", "intervention.contrast=name_pair"],
            "intervention.names: ' Xanthippe' is not exactly one token of this model",
        ),
        (["intervention.vector=nowhere"], "intervention.vector: 'nowhere' is no file"),
        (["intervention.text=nowhere"], "intervention.text: 'nowhere' is no file"),
        (["task.n=1"], "intervention.contrast: got 1 prompt, which leaves one side of the split empty"),
        (
            ["task.n=4", "intervention.method=logistic"],
            "intervention.contrast: its positive side has 2 prompts to make the vector from, logistic needs 4 or more",
        ),
        (["intervention.layer=9"], "intervention.layer: got 9, expected 0 to 3 (tiny-gpt2)"),
        (["intervention.position=S3"], "intervention.position: got 'S3', expected one of"),
    ],
)
def test_mistakes_are_one_line(sweep, arguments, line):
    outcome = steer(sweep, *arguments)
    assert outcome.code == 1
    assert line in outcome.error_line
