"""Steered prompts against plain hooks, routes between models, and the choice of layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import Edit, Site
from ioi_lab.steering.vectors import activations_at
from ioi_lab.transfer.vectors import (
    AT_NATIVE_NORM,
    CARRIED,
    NATIVE,
    RANDOM,
    SHIFT,
    SHUFFLED,
    NativeVectors,
    ThroughMaps,
    ThroughVocabulary,
    cosine,
    transfer_vectors,
    with_norm_of,
)
from tests.conftest import hugging_face
from tests.oracle import edited_end_logits
from tests.transfer.conftest import on_prompts, random_maps


def natives(models, layers=((2, 3), (3,)), n=12):
    source, target = on_prompts(models, n=n, contrast="name_pair")
    return [
        NativeVectors.of(model, "resid_post", "END", own, "mean_difference")
        for model, own in zip((source, target), layers, strict=True)
    ]


def test_what_is_steered_equals_plain_hooks(both, folders):
    source, target = natives(both)
    maps = random_maps(both, (2, 3))
    transfer = transfer_vectors(source, target, ThroughMaps(source, maps, 5, 0))
    scales = [-1.0, 2.0]
    readout = target.on_prompts.held_out.run(transfer.edit_sets(scales), "clean")
    sites = [Site("resid_post", 2, None, "END")]
    positive, negative = (
        next(iter(activations_at(source.on_prompts.sides, which, sites).values())) for which in ("clean", "corrupted")
    )
    vector = torch.from_numpy(positive.mean(axis=0) - negative.mean(axis=0)) @ maps[2, 3].matrix
    rows = [(each.name, each.source_layer, each.layer) for each in transfer.vectors]
    first = rows.index((CARRIED, 2, 3)) * len(scales)
    plain = hugging_face(folders["tiny-pythia"])
    for row, prompt in enumerate(target.on_prompts.contrast.held_out):
        for index, scale in enumerate(scales):
            edit = Edit(Site("resid_post", 3, None, "END"), "add", (prompt.sign * vector).float(), scale)
            logits = edited_end_logits(plain, prompt.steered, row, [edit], "clean")
            expected = float(logits[prompt.steered.answer_id] - logits[prompt.steered.distractor_id])
            assert readout.logit_diff[first + index, row] == pytest.approx(expected, abs=1e-4)


def test_the_vectors_are_native_carried_and_controls_in_this_order(both):
    source, target = natives(both, ((1, 3), (2, 3)))
    transfer = transfer_vectors(source, target, ThroughMaps(source, random_maps(both, (1, 2, 3)), 5, 0))
    rows = [(each.name, each.source_layer, each.layer) for each in transfer.vectors]
    assert rows[:6] == [
        (NATIVE, None, 2), (NATIVE, None, 3), (CARRIED, 1, 2), (CARRIED, 1, 3), (CARRIED, 3, 2), (CARRIED, 3, 3)
    ]  # fmt: skip
    names = [*(f"{RANDOM} {index}" for index in range(5)), SHIFT]
    assert rows[6:] == [(name, *transfer.best) for name in (AT_NATIVE_NORM, *names)]
    carried = next(each for each in transfer.vectors if (each.source_layer, each.layer) == transfer.best)
    rescaled = transfer.vectors[6]
    assert rescaled.norm == pytest.approx(np.linalg.norm(target.vectors[transfer.best[1]]))
    assert rescaled.vector == pytest.approx(carried.vector * rescaled.norm / carried.norm)
    assert [each.is_control for each in transfer.vectors] == [False] * 7 + [True] * 6
    assert [each.name for each in transfer.vectors_of_best] == [NATIVE, CARRIED, AT_NATIVE_NORM, *names]
    for control in transfer.vectors[7:]:
        assert np.linalg.norm(control.vector) == pytest.approx(carried.norm)
        assert control.norm == carried.norm


def test_the_layers_are_those_in_which_each_models_own_vector_is_steepest(both):
    """Whatever the maps do; a vector that points the other way is less steep than one that does nothing."""
    source, target = natives(both, ((2, 3), (1, 3)))
    for seed, (source_sign, target_sign, best) in enumerate([(1, 1, (3, 3)), (-1, 1, (2, 3)), (1, -1, (3, 1))]):
        one = replace(source, vectors={2: 0 * source.vectors[2], 3: source_sign * source.vectors[3]})
        other = replace(target, vectors={1: 0 * target.vectors[1], 3: target_sign * target.vectors[3]})
        maps = random_maps(both, (1, 2, 3))
        turned = {pair: AffineMap((-1) ** seed * each.matrix, each.bias) for pair, each in maps.items()}
        assert transfer_vectors(one, other, ThroughMaps(one, turned, 5, 0)).best == best


def test_a_route_through_the_vocabulary_is_the_same_into_every_layer(both):
    source, target = natives(both, ((2, 3), (1, 3)))
    route = ThroughVocabulary.of(source, target, 5, 0)
    assert np.array_equal(route.carry((2, 1)), route.carry((2, 3)))
    assert not np.array_equal(route.carry((2, 1)), route.carry((3, 1)))
    controls = route.controls((2, 3), route.carry((2, 3)))
    assert list(controls) == [f"{SHUFFLED} {index}" for index in range(5)]
    for control in controls.values():
        assert np.linalg.norm(control) == pytest.approx(np.linalg.norm(route.carry((2, 3))))
        assert abs(cosine(control, route.carry((2, 3)))) < 0.9


def test_any_direction_takes_the_route_of_the_vector(both):
    source, target = natives(both)
    maps = random_maps(both, (2, 3))
    direction = np.random.default_rng(0).standard_normal(both[0].shape.d_model)
    through_maps = ThroughMaps(source, maps, 5, 0)
    assert through_maps.image(direction, (2, 3)) == pytest.approx(direction @ maps[2, 3].matrix.numpy())
    for route in (through_maps, ThroughVocabulary.of(source, target, 5, 0)):
        assert route.image(source.vectors[2], (2, 3)) == pytest.approx(route.carry((2, 3)))


def test_a_refit_takes_some_of_the_training_prompts(both):
    source, _ = natives(both)
    positive, negative = source.sides[2]
    assert source.refit(2, np.arange(len(positive))) == pytest.approx(source.vectors[2])
    assert source.refit(2, np.array([1, 1, 4])) == pytest.approx(
        (2 * (positive[1] - negative[1]) + positive[4] - negative[4]) / 3
    )


def test_norms_and_cosines_of_zero_vectors():
    zero, one = np.zeros(2), np.array([3.0, 4.0])
    assert with_norm_of(one, np.array([0.0, 10.0])).tolist() == [6.0, 8.0]
    assert with_norm_of(zero, one).tolist() == [0.0, 0.0]
    assert (cosine(zero, one), cosine(one, one)) == (0.0, pytest.approx(1))
