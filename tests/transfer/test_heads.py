"""Swapped heads against plain hooks, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.transfer.heads import MEAN, OWN, ZERO, swap_heads
from tests.conftest import hugging_face
from tests.oracle import edited_end_logits
from tests.transfer.conftest import on_prompts, random_maps


def test_what_is_written_in_a_heads_place_equals_plain_hooks(both, folders):
    source, target = on_prompts(both)
    maps = random_maps(both)
    swap = swap_heads(source, target, maps, ((1, 2), (2, 1)), "S2")
    readout = target.held_out.run(list(swap.edits.values()), "corrupted")
    plain = {model.shape.name: hugging_face(folders[model.shape.name]) for model in both}

    def outputs(side, prompts, runs, head):
        """The mean over some passes of what the head writes into the residual stream."""
        model, written = side.model, []
        for pair in prompts:
            by_run = []
            for run in runs:
                ids = torch.tensor([pair.clean_tokens if run == "clean" else pair.corrupted_tokens])
                _, cache = model.bridge.run_with_cache(ids, names_filter=f"blocks.{head[0]}.attn.hook_z")
                z = cache[f"blocks.{head[0]}.attn.hook_z"][0, pair.labels["S2"], head[1]].double()
                by_run.append(z @ model.bridge.blocks[head[0]].attn.W_O[head[1]].double())
            written.append(torch.stack(by_run).mean(dim=0))
        return torch.stack(written)

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
            assert readout.logit_diff[swap.row(name), row] == pytest.approx(expected, abs=2e-4), name
    assert swap.mapped == pytest.approx((deviations @ maps[1, 2].matrix).numpy(), abs=1e-4)
    assert len(swap.names) == 3 + 2 * source.model.shape.n_heads


def test_a_head_in_its_own_place_does_what_it_did(both):
    source, target = on_prompts((both[0], both[0]))
    width = both[0].shape.d_model
    identity = AffineMap(torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))
    swap = swap_heads(source, target, {(i, j): identity for i in range(4) for j in range(4)}, (None, None), "END")
    assert swap.chosen == swap.replaced
    readout = target.held_out.run(list(swap.edits.values()), "corrupted")
    own, chosen = (readout.logit_diff[swap.row(name)] for name in (OWN, ".".join(map(str, swap.chosen))))
    assert own == pytest.approx(chosen, abs=1e-3)
    assert swap.cosines == pytest.approx(np.ones(len(own)), abs=1e-6)
    assert swap.length == pytest.approx(1, abs=1e-6)


def test_the_best_head_is_that_of_patching(both):
    source, target = on_prompts(both)
    swap = swap_heads(source, target, random_maps(both, range(4)), (None, None), "END")
    prompts = PromptPairs([prompt.steered for prompt in target.contrast.training])
    assert len(prompts) == len(target.training.prompts)
    best = max(swap.recoveries[1], key=lambda head: swap.recoveries[1][head])
    assert swap.replaced == best
    assert swap.recoveries[1][best] > 0.3
