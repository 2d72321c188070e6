"""Whole alignments: known answers, and the bound on memory."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.alignment.align import align, distance_from_identity, stitch
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.alignment.similarity import similarities
from ioi_lab.errors import LabError
from tests.alignment.conftest import aligned, alignment_config, all_activations, tiny_english


def copy_of(x, scale=3.0):
    """The same activations rotated, scaled and shifted, and the map to them."""
    generator = torch.Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], generator=generator, dtype=torch.float64))
    shift = 5 * torch.randn(x.shape[1], generator=generator, dtype=torch.float64)
    return scale * x @ rotation + shift, AffineMap(scale * rotation, shift)


class WithItsCopy(Pairing):
    """A model next to a rotated, scaled and shifted copy of its own activations."""

    def activations(self, chunk):
        x, _ = super().activations(chunk)
        return x, copy_of(x[:, 0])[0][:, None]


@pytest.mark.parametrize("method", ["ridge", "procrustes", "lowrank", "anchors"])
def test_a_rotated_scaled_shifted_copy_gives_the_known_map(both, method):
    width = both[0].shape.d_model
    config = alignment_config(method=method, source_layers=2, target_layers=2, rank=width)
    pairing = WithItsCopy.of(config, (both[0], both[0]), "auto")
    found = align(Reader(pairing, tiny_english(400), config, 0), pairing, config)
    _, known = copy_of(torch.zeros(1, width, dtype=torch.float64))
    fit, errors = found.forward[2, 2], found.forward_errors[2, 2]
    assert errors.r2() > 0.999
    assert errors.r2("shuffled") <= 0
    assert errors.r2("mean_shift") < 0.5
    assert float((fit.map.matrix - known.matrix).norm() / known.matrix.norm()) < 1e-3
    assert float((fit.map.bias - known.bias).norm() / known.bias.norm()) < 1e-2
    assert fit.cka == pytest.approx(1)


class WithACopyAsSource(Pairing):
    """A rotated, scaled and shifted copy of a model's activations, next to the model itself as the target.

    A copy of the weights would not do: the layer norms of both packaged models are not rotation invariant. What the
    target receives of the copy has to be mapped back exactly, so that the stitched model is the model itself.
    """

    def activations(self, chunk):
        x, y = super().activations(chunk)
        return copy_of(x[:, 0])[0][:, None], y


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "kl"),
    [
        ("ridge", 1e-6),
        ("procrustes", 1e-6),
        ("lowrank", 1e-6),
        ("anchors", 1e-6),
        ("affine_trained", 1e-4),
        ("mlp", 1.5),
    ],
)
def test_stitched_to_a_copy_a_model_predicts_what_it_does_itself(both, method, kl):
    """The linear maps recover it; the hidden layer, trained for a few steps, comes near."""
    steps = 120 if method == "mlp" else 20
    config = alignment_config(
        method=method, source_layers=2, target_layers=2, rank=both[0].shape.d_model, steps=steps, stitched_texts=30
    )
    pairing = WithACopyAsSource.of(config, (both[0], both[0]), "auto")
    reader = Reader(pairing, tiny_english(300), config, 0)
    agreement = stitch(reader, pairing, align(reader, pairing, config), config).forward[2, 2]
    positions, followed = agreement.n_positions.sum(), agreement.n_followed.sum()
    assert agreement.kl.sum() / positions < kl
    assert agreement.kl_mean.sum() / positions > 2
    if method != "mlp":
        assert agreement.same_top.sum() / positions > 0.99
        assert abs(agreement.loss.sum() - agreement.loss_own.sum()) / followed < 1e-3


def test_shuffled_texts_are_chance(both):
    """A source that has read other texts: no map explains anything, and the debiased CKA is inside its null."""

    class OfOtherTexts(Pairing):
        def activations(self, chunk):
            x, y = super().activations(chunk)
            return x.roll(len(x) // 2, 0), y

    config = alignment_config(source_layers=3, target_layers=3)
    pairing = OfOtherTexts.of(config, both, "auto")
    found = align(Reader(pairing, tiny_english(400), config, 0), pairing, config)
    assert abs(found.forward_errors[3, 3].r2()) < 0.02
    similar = similarities(*found.sample.rows, 0)
    assert abs(similar.debiased[0, 0]) < 0.02
    assert similar.debiased[0, 0] <= similar.null_high[0, 0]
    assert similar.plain[0, 0] > 0


def test_a_model_is_aligned_with_itself_by_the_identity(both):
    config = alignment_config(source_layers=[1, 3], target_layers=[1, 3])
    found = aligned((both[0], both[0]), config, tiny_english())
    for layer in (1, 3):
        assert found.forward_errors[layer, layer].r2() > 0.9999
        assert found.forward_errors[layer, layer].r2("shuffled") <= 0
        assert distance_from_identity(found.forward[layer, layer].map) < 1e-2
    assert found.forward_errors[1, 3].r2() < 0.99


def test_maps_beat_their_controls_between_the_tiny_models(both):
    found = aligned(both, alignment_config(source_layers=3, target_layers=3), tiny_english(400))
    for errors in (found.forward_errors[3, 3], found.backward_errors[3, 3]):
        assert errors.r2() > 0.9
        assert errors.r2("shuffled") <= 0
        assert errors.r2("mean_shift") < 0


def test_the_last_positions_alone(both):
    config = alignment_config(positions="last", source_layers=3, target_layers=3)
    found = aligned(both, config, tiny_english(150))
    assert found.n_positions + found.n_held_out == 150
    x, _, _ = all_activations(both, config, tiny_english(150))
    assert len(x) == 150


def test_sums_that_do_not_fit_are_reported_before_anything_is_read(both):
    config = alignment_config()
    pairing = Pairing.of(config, both, 1e-4)
    with pytest.raises(LabError, match=r"engine\.memory_gb: the sums of 16 pairs of layers in 3 folds take"):
        align(Reader(pairing, tiny_english(), config, 0), pairing, config)
