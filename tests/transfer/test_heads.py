"""Swapped heads against plain hooks, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.transfer.heads import MEAN, OWN, ZERO, swap
from ioi_lab.transfer.sides import sides_of
from tests.conftest import hugging_face, ioi_task
from tests.oracle import edited_end_logits


def sides(models, n=24, contrast="clean_corrupt", names=("James", "Robert")):
    return sides_of(models, ioi_task(n=n).prompt_pairs(models[1].tokens), contrast, names, 0, "auto")


def random_maps(models, layers=(1, 2)):
    generator = torch.Generator().manual_seed(0)
    widths = [model.shape.d_model for model in models]
    return {
        (i, j): AffineMap(
            torch.randn(*widths, generator=generator, dtype=torch.float64) / widths[0] ** 0.5,
            torch.randn(widths[1], generator=generator, dtype=torch.float64),
        )
        for i in layers
        for j in layers
    }


def test_both_models_have_the_same_prompts(both):
    source, target = sides(both)
    for one, other in zip(source.contrast.held_out, target.contrast.held_out, strict=True):
        assert (one.steered.clean, one.steered.answer, one.sign) == (
            other.steered.clean,
            other.steered.answer,
            other.sign,
        )
        assert one.sides.corrupted == other.sides.corrupted
    trained = {prompt.steered.answer for prompt in target.contrast.training}
    assert not trained & {prompt.steered.answer for prompt in target.contrast.held_out}


def test_prompts_that_the_source_cannot_read_are_told(both, monkeypatch):
    monkeypatch.setattr("ioi_lab.alignment.sides.in_other_model", lambda *_: None)
    with pytest.raises(LabError, match=r"intervention\.source: of 24 prompts, 0 have an answer and a distractor"):
        sides(both)


def test_what_is_written_in_a_heads_place_equals_plain_hooks(both, folders):
    source, target = sides(both)
    maps = random_maps(both)
    found = swap(source, target, maps, ((1, 2), (2, 1)), "S2")
    plain = {model.shape.name: hugging_face(folders[model.shape.name]) for model in both}

    def outputs(side, prompts, runs, head):
        """What the head writes, by a pass with it and one without: the change behind its layer's attention."""
        model, held = side.model, []
        for pair in prompts:
            by_run = []
            for run in runs:
                ids = torch.tensor([pair.clean_tokens if run == "clean" else pair.corrupted_tokens])
                _, cache = model.bridge.run_with_cache(ids, names_filter=f"blocks.{head[0]}.attn.hook_z")
                z = cache[f"blocks.{head[0]}.attn.hook_z"][0, pair.labels["S2"], head[1]].double()
                by_run.append(z @ model.bridge.blocks[head[0]].attn.W_O[head[1]].double())
            held.append(torch.stack(by_run).mean(dim=0))
        return torch.stack(held)

    training = [[prompt.steered for prompt in side.contrast.training] for side in (source, target)]
    held_out = [[prompt.steered for prompt in side.contrast.held_out] for side in (source, target)]
    means = [
        outputs(side, prompts, ("clean", "corrupted"), head).mean(dim=0)
        for side, prompts, head in zip((source, target), training, ((1, 2), (2, 1)), strict=True)
    ]
    deviations = outputs(source, held_out[0], ("clean",), (1, 2)) - means[0]
    written = means[1] + deviations @ maps[1, 2].matrix
    site, stream = Site("z", 2, 1, "S2"), Site("attn_out", 2, None, "S2")
    by_hand = {
        OWN: [Edit(site, "replace", FromPass("clean"))],
        ZERO: [Edit(site, "zero")],
        MEAN: [Edit(site, "zero"), Edit(stream, "add", means[1].float().expand(len(held_out[1]), -1))],
        "1.2": [Edit(site, "zero"), Edit(stream, "add", written.float())],
    }
    for name, edits in by_hand.items():
        for row, pair in enumerate(held_out[1]):
            logits = edited_end_logits(plain[target.name], pair, row, edits, "corrupted")
            expected = float(logits[pair.answer_id] - logits[pair.distractor_id])
            assert found.readout.logit_diff[found.row(name), row] == pytest.approx(expected, abs=2e-4), name
    assert found.mapped == pytest.approx((deviations @ maps[1, 2].matrix).numpy(), abs=1e-4)
    assert len(found.names) == 3 + 2 * source.model.shape.n_heads


def test_a_head_in_its_own_place_does_what_it_did(both):
    source, target = sides((both[0], both[0]))
    width = both[0].shape.d_model
    identity = AffineMap(torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))
    found = swap(source, target, {(i, j): identity for i in range(4) for j in range(4)}, (None, None), "END")
    assert found.chosen == found.replaced
    own, chosen = (found.readout.logit_diff[found.row(name)] for name in (OWN, ".".join(map(str, found.chosen))))
    assert own == pytest.approx(chosen, abs=1e-3)
    assert found.cosines == pytest.approx(np.ones(len(own)), abs=1e-6)
    assert found.length == pytest.approx(1, abs=1e-6)


def test_the_best_head_is_that_of_patching(both):
    source, target = sides(both)
    found = swap(source, target, random_maps(both, range(4)), (None, None), "END")
    prompts = PromptPairs([prompt.steered for prompt in target.contrast.training])
    assert len(prompts) == len(target.training.prompts)
    best = max(found.found[1], key=lambda head: found.found[1][head])
    assert found.replaced == best
    assert found.found[1][best] > 0.3
