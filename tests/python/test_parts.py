"""The parts can be called with few arguments, and give what the interventions report."""

from __future__ import annotations

import numpy as np
import pytest

import ioi_lab as lab


@pytest.fixture(scope="module")
def engine():
    model = lab.load_model("tiny-gpt2")
    return lab.Engine(model, lab.IOITask(n=8).prompt_pairs(model.tokens))


def test_an_edit_is_that_of_a_run(engine, demo):
    edit = lab.Edit(lab.Site("z", 3, head=1), "replace", lab.FromPass("clean"))
    edited = engine.run([[edit]], "corrupted", progress=False).logit_diff[0]
    clean, corrupted = (engine.baseline(which).logit_diff[0] for which in ("clean", "corrupted"))
    row = demo.table.query("layer == 3 and head == 1")
    assert row["recovery"].item() == pytest.approx((edited - corrupted).mean() / (clean - corrupted).mean(), rel=1e-5)


def test_a_lens_reads_every_layer(engine):
    reading = lab.read_lens(engine)
    assert reading.logit_diff.shape == (5, 1, 8)
    assert reading.logit_diff[-1, 0] == pytest.approx(engine.baseline("clean").logit_diff[0], abs=1e-4)


def test_steering_path_patching_ablation_and_attention_need_few_arguments(engine):
    contrast = lab.contrast_of("answer_position", engine.prompts, engine.model.tokens)
    site = lab.Site("resid_pre", 2, position="END")
    sides = engine.on(contrast.training_sides)
    positive, negative = (lab.activations_at(sides, which, [site])[site] for which in ("clean", "corrupted"))
    vector = lab.make_vector("mean_difference", positive, negative)
    steered = engine.on(contrast.steered)
    edits = lab.add_direction(site, np.tile(vector, (len(steered.prompts), 1)), [-1.0, 1.0])
    assert steered.run(edits, "clean", progress=False).logit_diff.shape == (2, len(steered.prompts))
    head = lab.Site("z", 3, head=1)
    assert len(lab.path_patch_edits(engine, [[head]])) == 1
    assert len(lab.ablation_edits(engine, [[head]])) == 1
    assert lab.attention_to(engine).shape == (4, 4, 4, 8)
    assert lab.patterns_of(engine).shape[:2] == (4, 4)
    terms = lab.direct_effects(engine).difference
    assert terms.sum.shape == (8,)
