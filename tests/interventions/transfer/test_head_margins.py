"""Controls of the best heads: recomputed from the edits, and known answers in which one of them must fail."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.interventions.transfer.head_grid import measure_grid
from ioi_lab.interventions.transfer.head_margins import measure_margins
from ioi_lab.transfer.head_controls import EDITS_PER_PLACE, N_OTHER_PROMPTS
from ioi_lab.transfer.head_maps import StreamMaps
from ioi_lab.transfer.heads import swap_heads
from tests.transfer.conftest import on_prompts


def test_the_margins_are_those_of_the_edits(heads):
    swap, result, _ = heads
    grid, engine = result.grid, swap.target.held_out
    margins, controls = grid.margins, swap.controls
    gap = (engine.baseline("clean").logit_diff - engine.baseline("corrupted").logit_diff).mean()
    for row, (replaced, best) in enumerate(zip(grid.replaced, grid.best, strict=True)):
        elsewhere = engine.run(controls.in_other_layers(replaced, best), "corrupted").logit_diff
        mean, image, own = (elsewhere[part::EDITS_PER_PLACE].mean() for part in range(EDITS_PER_PLACE))
        of_others = engine.run(controls.of_other_prompts(replaced, best), "corrupted").logit_diff
        idle = [grid.sources.index(head) for head in controls.idle.of_source if head != best]
        expected = {
            "mean": 0.0,
            "other_layers": (image - mean) / gap,
            "other_prompts": (of_others[1:].mean() - of_others[0].mean()) / gap,
            "idle_heads": grid.beyond[row, idle].mean(),
            "others": (grid.beyond[row].sum() - grid.of_best.value[row]) / (len(grid.sources) - 1),
        }
        for name, level in expected.items():
            assert margins.levels[name].value[row] == pytest.approx(level, abs=1e-5), name
            assert margins.margins[name].value[row] == pytest.approx(grid.of_best.value[row] - level, abs=1e-5), name
        assert margins.own_in_other_layers.value[row] == pytest.approx((own - mean) / gap, abs=1e-5)
        assert margins.own_above_other_layers.value[row] == pytest.approx(
            grid.own.value[row] - (own - mean) / gap, abs=1e-5
        )
        assert len(of_others) == 1 + N_OTHER_PROMPTS


@pytest.fixture(scope="module")
def itself(tiny_models):
    """tiny-gpt2 in its own place, all layers."""
    source, target = on_prompts((tiny_models[0], tiny_models[0]), n=48)
    width, layers = tiny_models[0].shape.d_model, range(4)
    identity = AffineMap(torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))
    maps = StreamMaps({(i, j): identity for i in layers for j in layers}, {(i, j): 1.0 for i in layers for j in layers})
    return swap_heads(source, target, maps, (layers, layers), (None, None), "END")


def test_in_the_model_itself_the_best_head_comes_over_and_differs_by_layer_as_its_own_output_does(itself):
    grid = measure_grid(*itself.grids, itself.controls)
    assert grid.best[0] == grid.replaced[0]
    assert 0 in grid.come_over
    margins = grid.margins
    assert margins.levels["other_layers"].value[0] == pytest.approx(margins.own_in_other_layers.value[0], abs=1e-4)
    assert margins.margins["other_layers"].value[0] == pytest.approx(margins.own_above_other_layers.value[0], abs=1e-4)
    assert margins.own_above_other_layers.exceeds()[0]


@dataclass(frozen=True)
class Fixed:
    """Images that are given."""

    image: np.ndarray

    def of_held_out(self, source, target):
        return self.image


def margins_of(swap, image):
    """The margins if the best head's image is a given one; other heads add nothing."""
    controls, head, best = replace(swap.controls, images=Fixed(image)), swap.replaced, swap.chosen
    engine = controls.engine
    in_its_place = [controls._in(head, np.zeros_like(image)), controls._in(head, image)]
    mean, with_image = engine.run(in_its_place, "corrupted").logit_diff
    nothing = np.zeros_like(mean)
    by_head = dict.fromkeys(swap.recoveries[0], nothing) | {best: with_image - mean}
    gap = engine.baseline("clean").logit_diff - engine.baseline("corrupted").logit_diff
    return measure_margins(controls, [head], [best], [by_head], (nothing[None], nothing[None]), gap)


def test_what_writes_the_answer_into_the_logits_recovers_in_every_layer(tiny_models):
    """Its function needs no place, so that it is not shown to be the replaced head's: this control has to fail."""
    source, target = on_prompts((tiny_models[0], tiny_models[1]), n=48)
    model, layers = tiny_models[1], range(4)
    zero = AffineMap(torch.zeros(tiny_models[0].shape.d_model, model.shape.d_model).double(), torch.zeros(64).double())
    maps = StreamMaps({(i, j): zero for i in layers for j in layers}, {(i, j): 0.0 for i in layers for j in layers})
    swap = swap_heads(source, target, maps, (layers, layers), (None, (3, 1)), "END")
    unembedding = model.bridge.W_U.double().cpu().numpy().T
    prompts = target.held_out.prompts
    directions = np.array([unembedding[pair.answer_id] - unembedding[pair.distractor_id] for pair in prompts])
    margins = margins_of(swap, 3 * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    assert margins.margins["mean"].exceeds()[0]
    assert margins.margins["other_prompts"].exceeds()[0]
    assert "other_layers" in margins.not_exceeded(0)


def test_the_same_vector_in_every_prompt_is_not_above_that_of_other_prompts(itself):
    constant = itself.mapped.mean(axis=0)
    margins = margins_of(itself, np.tile(3 * constant / np.linalg.norm(constant), (len(itself.mapped), 1)))
    assert margins.margins["other_prompts"].value[0] == pytest.approx(0, abs=1e-5)
    assert "other_prompts" in margins.not_exceeded(0)


def test_a_control_that_cannot_be_made_is_not_exceeded_unless_all_prompts_share_names(itself):
    controls = itself.controls
    idle = replace(controls.idle, of_source=[], places={itself.replaced: []})
    margins = margins_of(replace(itself, controls=replace(controls, idle=idle, other_prompts=[])), itself.mapped)
    assert {"idle_heads", "other_layers", "other_prompts"}.isdisjoint(margins.margins)
    assert {"idle_heads", "other_layers"} <= set(margins.not_exceeded(0))
    assert "other_prompts" not in margins.not_exceeded(0)
