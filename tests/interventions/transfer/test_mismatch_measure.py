"""Another concept through the same route: its numbers, and the known answer that it does not steer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.interventions.transfer.slopes import SlopeMeter
from ioi_lab.interventions.transfer.vector_measure import VectorOptions, measure_vector_transfer
from ioi_lab.interventions.transfer.vector_summary import summary_lines
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.transfer.mismatch import mismatched_vectors
from ioi_lab.transfer.shared_prompts import on_shared_prompts
from ioi_lab.transfer.unrelated import unrelated_directions
from ioi_lab.transfer.vectors import CARRIED, NativeVectors, ThroughMaps, transfer_vectors, with_norm_of
from tests.conftest import ioi_task
from tests.transfer.conftest import on_prompts, random_maps


def test_the_slopes_are_those_of_the_vector_at_the_carried_norm(vectors):
    transfer, result, _ = vectors
    mismatched, best = result.slopes.mismatched, transfer.best
    carried = next(each for each in transfer.vectors_of_best if each.name == CARRIED)
    assert mismatched.names == ["answer_position"]
    image = transfer.route.image(mismatched_vectors(transfer.source, best[0])["answer_position"], best)
    meter = SlopeMeter(transfer.target, best[1], result.slopes.scales)
    own, other = meter.slopes([carried.vector, with_norm_of(image, carried.vector)])
    assert mismatched.slope.value == pytest.approx([other.mean()], abs=1e-4)
    assert mismatched.margin.value == pytest.approx([(own - other).mean()], abs=1e-3)
    assert mismatched.share.value == pytest.approx(mismatched.slope.value / result.slopes.native.value, abs=1e-4)
    assert result.slopes.rows.kinds[-1] == "another concept"
    assert result.slopes.rows.slopes.value[-1] == pytest.approx(other.mean(), abs=1e-4)


def test_a_concept_that_is_not_exceeded_speaks_against_a_transfer(vectors):
    slopes = vectors[1].slopes
    above, below = (Estimate(*(np.array([part]) for part in bounds)) for bounds in ((1, 0.5, 2), (0.2, -0.5, 1)))
    kinds = [replace(kind, margin=above) for kind in slopes.unrelated]
    good = replace(slopes, carried=above, beats_controls=True, unrelated=kinds)
    for margin, comes_over in ((above, True), (below, False)):
        mismatched = replace(slopes.mismatched, margin=margin)
        assert replace(good, mismatched=mismatched).comes_over == comes_over
        assert mismatched.unbeaten == ([] if comes_over else ["answer_position"])


def test_in_the_model_itself_the_concept_carries_whole_and_another_one_does_not_steer(tiny_models):
    """Known answers: the identity carries 100 %, and at the same norm the place of the answer moves hardly anything."""
    source, target = on_prompts((tiny_models[1], tiny_models[1]), n=64, contrast="name_pair")
    native = [NativeVectors.of(side, "resid_post", "END", [3], "mean_difference") for side in (source, target)]
    width = tiny_models[1].shape.d_model
    identity = AffineMap(torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))
    transfer = transfer_vectors(*native, ThroughMaps(native[0], {(3, 3): identity}, 5, 0))
    options = VectorOptions("maps", "mean_difference", "name_pair", ("James", "Robert"), [-1.0, 0.0, 1.0], 5, 39, 0)
    directions = unrelated_directions(native[0], 3, 39, 0)
    result, _ = measure_vector_transfer(transfer, options, {(3, 3): 1.0}, directions)
    assert result.slopes.share.value == pytest.approx([1], abs=1e-6)
    assert result.agreement.carried.correlation.value == pytest.approx([1], abs=1e-6)
    assert result.agreement.carried.relative_error.value == pytest.approx([0], abs=1e-6)
    assert abs(result.slopes.mismatched.share.value[0]) < 0.1
    assert result.slopes.beats_mismatched


def test_prompts_without_labels_have_no_other_concept(tiny_models):
    """As those of two answers: every number is there nevertheless."""
    tokens = tiny_models[1].tokens
    prompts = PromptPairs(
        [
            PromptPair.build(tokens, pair.clean, pair.corrupted, pair.answer, pair.distractor, lambda _: {})
            for pair in ioi_task(n=24).prompt_pairs(tokens)
        ]
    )
    source, target = on_shared_prompts(tiny_models, prompts, "clean_corrupt", ("James", "Robert"), 0, "auto")
    native = [NativeVectors.of(side, "resid_post", "END", [3], "mean_difference") for side in (source, target)]
    transfer = transfer_vectors(*native, ThroughMaps(native[0], random_maps(tiny_models, (3,)), 5, 0))
    options = VectorOptions("maps", "mean_difference", "clean_corrupt", ("", ""), [-1.0, 1.0], 5, 39, 0)
    directions = unrelated_directions(native[0], 3, 39, 0)
    result, _ = measure_vector_transfer(transfer, options, {(3, 3): 0.1}, directions)
    assert result.slopes.mismatched.names == []
    assert result.slopes.beats_mismatched
    assert "another concept" not in result.slopes.rows.kinds
    assert not any("another concept" in line for line in summary_lines(result))
