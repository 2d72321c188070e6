"""Swapped heads against plain hooks, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.transfer.head_maps import OutputMaps, StreamMaps
from ioi_lab.transfer.heads import MAX_REPLACED, MEAN, OWN, ZERO, Role, contrasts_of_heads, swap_heads
from tests.conftest import hugging_face
from tests.oracle import edited_end_logits
from tests.transfer.conftest import on_prompts, random_maps


def through_streams(maps):
    return StreamMaps(maps, {pair: 0.1 * sum(pair) for pair in maps})


def test_what_is_written_in_a_heads_place_equals_plain_hooks(both, folders):
    source, target = on_prompts(both)
    maps = random_maps(both)
    swap = swap_heads(source, target, through_streams(maps), ((1, 2), (1, 2)), ((1, 2), (2, 1)), "S2")
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
    deviations = [outputs(source, prompts, ("clean",), (1, 2)) - means[0] for prompts in (training[0], held_out[0])]
    own = outputs(target, training[1], ("clean",), (2, 1)) - means[1]
    length = (deviations[0] @ maps[1, 2].matrix).norm() / own.norm()
    assert swap.length == pytest.approx(float(length), rel=1e-4)
    image = deviations[1] @ maps[1, 2].matrix / length
    written = means[1] + image
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
    assert swap.mapped == pytest.approx(image.numpy(), abs=1e-4)
    assert len(swap.names) == 3 + 2 * source.model.shape.n_heads


def test_a_head_in_its_own_place_does_what_it_did(both):
    source, target = on_prompts((both[0], both[0]))
    width = both[0].shape.d_model
    identity = AffineMap(torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))
    maps = {(i, j): identity for i in range(4) for j in range(4)}
    swap = swap_heads(source, target, through_streams(maps), (range(4), range(4)), (None, None), "END")
    assert swap.chosen == swap.replaced
    readout = target.held_out.run(list(swap.edits.values()), "corrupted")
    own, chosen = (readout.logit_diff[swap.row(name)] for name in (OWN, ".".join(map(str, swap.chosen))))
    assert own == pytest.approx(chosen, abs=1e-3)
    assert swap.cosines == pytest.approx(np.ones(len(own)), abs=1e-6)
    assert swap.length == pytest.approx(1, abs=1e-6)


def test_the_best_head_is_that_of_patching(both):
    source, target = on_prompts(both)
    maps = through_streams(random_maps(both, range(4)))
    swap = swap_heads(source, target, maps, (range(4), range(4)), (None, None), "END")
    prompts = PromptPairs([prompt.steered for prompt in target.contrast.training])
    assert len(prompts) == len(target.training.prompts)
    best = max(swap.recoveries[1], key=lambda head: swap.recoveries[1][head])
    assert swap.replaced == best
    assert swap.recoveries[1][best] > 0.3


def test_heads_with_a_role_are_paired_with_each_other(both):
    source, target = on_prompts(both)
    maps, layers = through_streams(random_maps(both, range(4))), (range(4), range(4))
    roles = [Role("one", [(0, 1), (1, 1)], [(1, 0)]), Role("other", [(2, 2), (0, 3)], [(3, 2), (2, 3)])]
    swap = swap_heads(source, target, maps, layers, (None, None), "END", roles)
    best = {role.name: max(swap.recoveries[1][head] for head in role.target_heads) for role in roles}
    assert swap.role.name == max(best, key=lambda name: best[name])
    assert swap.chosen == max(swap.role.source_heads, key=lambda head: swap.recoveries[0][head])
    assert swap.replaced == max(swap.role.target_heads, key=lambda head: swap.recoveries[1][head])
    named = swap_heads(source, target, maps, layers, ((1, 1), (0, 0)), "END", roles)
    assert (named.chosen, named.replaced, named.role) == ((1, 1), (0, 0), None)


def test_the_grid_has_every_head_of_the_source_in_the_place_of_the_best_of_the_target(both):
    source, target = on_prompts(both)
    swap = swap_heads(
        source, target, through_streams(random_maps(both, range(4))), (range(4), range(4)), (None, None), "END"
    )
    for grid, engine in zip(swap.grids, (target.training, target.held_out), strict=True):
        assert grid.engine is engine
        assert list(grid.sources) == list(swap.recoveries[0])
        assert len(grid.edits) == MAX_REPLACED * (3 + len(grid.sources))
    assert swap.grids[0].replaced[0] == swap.replaced
    row = 3 + list(swap.grids[1].sources).index(swap.chosen)
    in_grid, alone = (
        target.held_out.run([edits], "corrupted").logit_diff
        for edits in (swap.grids[1].edits[row], swap.edits[".".join(map(str, swap.chosen))])
    )
    assert in_grid == pytest.approx(alone, abs=1e-4)


def test_maps_of_outputs_are_fitted_to_the_contrast_of_the_training_prompts(both):
    source, target = on_prompts(both)
    maps = OutputMaps(*contrasts_of_heads(source, target, ([1, 2], [2]), "END"))
    head, replaced = (1, 2), (2, 1)
    outputs = {}
    for side, (layer, index) in ((source, head), (target, replaced)):
        by_pass = []
        for which in ("clean", "corrupted"):
            site = Site("z", layer, index, "END")
            z = activations_at(side.training, which, [site])[site]
            by_pass.append(z @ side.model.bridge.blocks[layer].attn.W_O.double().cpu().numpy()[index])
        outputs[side.name] = by_pass[0] - by_pass[1]
    assert maps.source.training[head] == pytest.approx(outputs[source.name], abs=1e-6)
    assert maps.target.training[replaced] == pytest.approx(outputs[target.name], abs=1e-6)
    assert list(maps.source.answers) == [prompt.steered.answer for prompt in target.contrast.training]
    itself = OutputMaps(*contrasts_of_heads(source, source, ([1], [1]), "END"))
    assert itself.r2((1, 0), (1, 0)) > 0.5  # the contrast of other names lies partly in what the training names span
