"""Outputs of heads against the weights, and images at the lengths of what they replace."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import load_model
from ioi_lab.steering.vectors import activations_at
from ioi_lab.transfer.head_images import Images, head_outputs, mean_outputs, written_instead
from ioi_lab.transfer.head_maps import StreamMaps
from tests.conftest import ioi_task, model_config
from tests.odd_models import write_odd_model
from tests.transfer.conftest import on_prompts, random_maps


@pytest.mark.parametrize("name", ["tiny-pythia", "gemma3", "granite"])
def test_outputs_of_all_heads_add_up_to_that_of_the_attention(both, tmp_path, name):
    """Also if a norm follows the attention (Gemma 3), or a factor (Granite)."""
    model = both[1] if name == "tiny-pythia" else load_model(model_config(write_odd_model(name, tmp_path), name=name))
    engine = Engine(model, ioi_task(n=4).prompt_pairs(model.tokens))
    outputs = head_outputs(engine, "clean", [(2, index) for index in range(model.shape.n_heads)], "S2")
    site = Site("attn_out", 2, None, "S2")
    bias = both[1].bridge.blocks[2].attn.b_O.double().cpu().numpy() if name == "tiny-pythia" else 0.0
    assert sum(outputs.values()) + bias == pytest.approx(activations_at(engine, "clean", [site])[site], abs=1e-5)


def test_what_is_written_instead_of_a_head_leaves_the_others_as_they_are(tmp_path):
    """With a norm after the attention: zeroing the head's z would change their scale."""
    model = load_model(model_config(write_odd_model("gemma3", tmp_path), name="gemma3"))
    engine = Engine(model, ioi_task(n=4).prompt_pairs(model.tokens))
    corrupted = head_outputs(engine, "corrupted", [(1, 2)], "END")[1, 2]
    edits = written_instead(Site("z", 1, 2, "END"), corrupted, corrupted)
    edited, baseline = engine.run([edits], "corrupted").logit_diff[0], engine.baseline("corrupted").logit_diff[0]
    assert edited == pytest.approx(baseline, abs=1e-5)


def test_a_mean_is_that_of_both_passes(both):
    target = on_prompts(both)[1]
    both_passes = [head_outputs(target.training, which, [(1, 1)], "END")[1, 1] for which in ("clean", "corrupted")]
    assert mean_outputs(target, [(1, 1)], "END")[1, 1] == pytest.approx(np.concatenate(both_passes).mean(axis=0))


def test_images_are_as_long_on_the_training_prompts_as_what_they_replace(both):
    source, target = on_prompts(both)
    maps, heads = random_maps(both), [(1, 0), (2, 3)]
    means = mean_outputs(target, [(2, 1), (1, 2)], "END")
    images = Images.of(source, target, heads, means, StreamMaps(maps, dict.fromkeys(maps, 0.0)), "END")
    own = head_outputs(target.training, "clean", list(means), "END")
    for replaced, mean in means.items():
        for image in images.training(replaced).values():
            assert np.linalg.norm(image) == pytest.approx(np.linalg.norm(own[replaced] - mean))
        assert images.held_out(replaced)[1, 0] == pytest.approx(images.of_held_out((1, 0), replaced))


def test_a_heads_own_output_written_instead_of_it_changes_what_patching_changes(both):
    engine = on_prompts(both)[1].held_out
    site = Site("z", 2, 1, "END")
    own, corrupted = (head_outputs(engine, which, [(2, 1)], "END")[2, 1] for which in ("clean", "corrupted"))
    edits = [written_instead(site, own, corrupted), (Edit(site, "replace", FromPass("clean")),)]
    written, patched = engine.run(edits, "corrupted").logit_diff
    assert written == pytest.approx(patched, abs=1e-4)
