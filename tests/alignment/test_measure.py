"""The numbers of an alignment, recomputed from the errors of its maps."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.alignment.align import align, distance_from_identity, stitch
from ioi_lab.alignment.measure import measure_alignment
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.alignment.similarity import similarities
from ioi_lab.stats.bootstrap import Bootstrap
from tests.alignment.conftest import alignment_config, tiny_english

LAYERS = {"source_layers": [1, 3], "target_layers": [2, 3], "stitched_texts": 0}


def measured(models, **changes):
    config, corpus = alignment_config(**LAYERS | changes), tiny_english(100)
    pairing = Pairing.of(config, models, "auto")
    reader = Reader(pairing, corpus, config, 0)
    alignment = align(reader, pairing, config)
    stitching = stitch(reader, pairing, alignment, config)
    return alignment, measure_alignment(alignment, stitching, pairing, config, corpus.title, 3)


def test_each_direction_has_the_errors_of_its_maps(both):
    alignment, result = measured(both)
    assert (result.forward.name, result.backward.name) == ("tiny-gpt2 → tiny-pythia", "tiny-pythia → tiny-gpt2")
    for direction, fits, errors in (
        (result.forward, alignment.forward, alignment.forward_errors),
        (result.backward, alignment.backward, alignment.backward_errors),
    ):
        assert direction.pairs == list(fits)
        r2 = [each.r2() for each in errors.values()]
        assert direction.estimates["r2"].value == pytest.approx(r2)
        assert direction.estimates["r2_shuffled"].value == pytest.approx([e.r2("shuffled") for e in errors.values()])
        to_mean = [each.map.sum() / each.mean.sum() for each in errors.values()]
        assert direction.estimates["error_to_mean"].value == pytest.approx(to_mean)
        assert direction.ranking == sorted(range(len(r2)), key=lambda row: -r2[row])
        assert (direction.best, direction.mean_r2) == (int(np.argmax(r2)), pytest.approx(np.mean(r2)))
        assert direction.highest_r2_shuffled == pytest.approx(max(each.r2("shuffled") for each in errors.values()))
        best_layer = direction.pairs[direction.best][0]
        from_best = [direction.pairs[row] for row in direction.drawn_rows]
        assert from_best == [pair for pair in fits if pair[0] == best_layer]
        assert direction.cka.tolist() == [fit.cka for fit in fits.values()]
        assert direction.penalties == [fit.penalty for fit in fits.values()]


def test_intervals_are_over_groups_of_texts_from_the_seed(both):
    alignment, result = measured(both)
    errors = alignment.forward_errors[1, 2]
    expected = Bootstrap(len(errors.total), 3).ratio((errors.total - errors.map)[None], errors.total[None])
    assert result.forward.estimates["r2"].low[0] == pytest.approx(expected.low[0])


def test_counts_and_warnings(both):
    alignment, result = measured(both)
    assert (result.n_positions, result.n_texts) == (alignment.n_positions, alignment.n_texts)
    assert result.n_maps == 8
    dimensions = 1 + max(len(fit.map.matrix) for fit in (*alignment.forward.values(), *alignment.backward.values()))
    assert result.positions_per_dimension == pytest.approx(alignment.n_positions / dimensions)
    assert result.is_underdetermined == (result.positions_per_dimension < 10)
    assert (result.is_one_model, result.map_title, result.component) == (False, "ridge map", "resid_post")
    # the widths differ, but layer 3 is mapped to layer 3: the distance is only meaningful for one model
    assert result.largest_distance_from_identity == distance_from_identity(alignment.forward[3, 3].map)


def test_one_model_twice(both):
    alignment, result = measured((both[0], both[0]), source_layers=[1, 3], target_layers=[1, 3])
    assert result.is_one_model
    distances = [distance_from_identity(alignment.forward[layer, layer].map) for layer in (1, 3)]
    assert result.largest_distance_from_identity == max(distances)


def test_similarities_go_with_their_pairs_of_layers(both):
    alignment, result = measured(both)
    expected = similarities(*alignment.sample.rows, 3)
    for row, (i, j) in enumerate((i, j) for i in (0, 1) for j in (0, 1)):
        assert result.forward.similarities["debiased"][row] == expected.debiased[i, j]
        pair = result.forward.pairs[row][::-1]
        assert result.backward.similarities["debiased"][result.backward.pairs.index(pair)] == expected.debiased[i, j]


def test_a_rule_leaves_one_pair_per_layer_of_the_source(both):
    _, result = measured(both, layers="depth", source_layers=[0, 1, 3], target_layers=[0, 2, 3])
    assert result.forward.pairs == [(0, 0), (1, 0), (3, 3)]
    assert result.backward.pairs == [(0, 0), (0, 1), (3, 3)]
    assert result.forward.drawn_rows == [0, 1, 2]


def test_the_stitched_models_are_measured_if_wanted(both):
    _, without = measured(both)
    assert (without.n_stitched_texts, without.replaced_shares) == (0, None)
    assert "stitched_kl" not in without.forward.estimates
    _, result = measured(both, stitched_texts=10, source_layers=[3], target_layers=[2, 3])
    assert result.n_stitched_texts == 10
    kl, loss = result.forward.estimates["stitched_kl"], result.forward.estimates["loss_recovered"]
    assert (kl.value < result.forward.estimates["mean_ablated_kl"].value).all()
    assert (loss.value > 0.5).all()
    assert (kl.low < kl.value).all()
    assert result.replaced_shares[0] > 0.5
