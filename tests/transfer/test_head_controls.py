"""The heads without effect, the other prompts, and what is written as controls."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.transfer.head_controls import EDITS_PER_PLACE, N_OTHER_PROMPTS, prompts_without_names, without_effect
from ioi_lab.transfer.head_maps import StreamMaps
from ioi_lab.transfer.heads import swap_heads
from tests.transfer.conftest import on_prompts, random_maps

EFFECTS = {(0, 0): 0.1, (0, 1): -0.3, (1, 0): -0.01, (1, 1): 0.5, (2, 0): 0.02, (2, 1): 0.03, (3, 0): -0.4, (3, 1): 0.0}


def test_a_place_is_the_head_of_another_layer_that_recovers_least():
    """What two heads of one layer write is added up before it is read: one place for each layer."""
    idle = without_effect(EFFECTS, EFFECTS, [(1, 1), (3, 0)], 2)
    assert idle.places == {(1, 1): [(3, 1), (2, 0)], (3, 0): [(1, 0), (2, 0)]}
    assert idle.of_source == [(3, 1), (1, 0)]
    assert idle.largest == (0.01, 0.02)


def test_at_most_half_of_the_heads_are_without_effect_and_a_model_of_one_layer_has_no_places():
    one = {(0, 0): 0.1, (0, 1): 0.0, (0, 2): 0.3}
    idle = without_effect(one, one, [(0, 2)], 4)
    assert idle.of_source == [(0, 1)]
    assert idle.places == {(0, 2): []}
    assert np.isnan(idle.largest[1])


def test_other_prompts_share_no_names(both):
    prompts = on_prompts(both, n=64)[1].held_out.prompts
    of_others = prompts_without_names(prompts)
    assert len(of_others) == N_OTHER_PROMPTS
    for others in of_others:
        assert len(others) == len(prompts)
        for pair, other in zip(prompts, others, strict=True):
            names = {pair.answer, pair.distractor}
            assert names.isdisjoint({prompts[other].answer, prompts[other].distractor})
    same = [pair for pair in prompts if {pair.answer, pair.distractor} == {prompts[0].answer, prompts[0].distractor}]
    assert prompts_without_names(PromptPairs(same)) == []


def written(edits):
    """The vector that each edit set adds, and the layer that it is added to."""
    return [(stream.site.layer, stream.value.double().numpy()) for (stream,) in edits]


def test_the_same_vectors_are_written_in_other_layers_and_those_of_other_prompts_in_the_same_place(both):
    source, target = on_prompts(both)
    maps = random_maps(both, range(4))
    swap = swap_heads(
        source, target, StreamMaps(maps, dict.fromkeys(maps, 0.0)), (range(4), range(4)), (None, None), "END", n_idle=2
    )
    controls, replaced, best = swap.controls, swap.replaced, swap.chosen
    places = controls.idle.places[replaced]
    assert len(places) == 2
    assert replaced[0] not in {layer for layer, _ in places}
    elsewhere = written(controls.in_other_layers(replaced, best))
    assert len(elsewhere) == EDITS_PER_PLACE * len(places)
    for index, place in enumerate(places):
        (layer, mean), *others = elsewhere[EDITS_PER_PLACE * index :][:EDITS_PER_PLACE]
        assert layer == place[0]
        assert mean == pytest.approx(controls.means[place] - controls.corrupted[place], abs=1e-6)
        for (_, vector), expected in zip(others, (swap.mapped, swap.own), strict=True):
            assert vector - mean == pytest.approx(expected, abs=1e-5)
    (layer, mean), *of_others = written(controls.of_other_prompts(replaced, best))
    assert layer == replaced[0]
    for (_, vector), others in zip(of_others, controls.other_prompts, strict=True):
        assert vector - mean == pytest.approx(swap.mapped[list(others)], abs=1e-5)
