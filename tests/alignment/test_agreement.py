"""The behaviour of stitched models: known answers, and sums against a loop by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.alignment.agreement import agreement_estimates, agreements, replaced_share
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.alignment.stitching import NO_TOKEN, StitchBatch, log_probs
from ioi_lab.alignment.text_activations import read_pieces
from ioi_lab.engine.edits import Site
from ioi_lab.stats.bootstrap import Bootstrap
from tests.alignment.conftest import alignment_config, tiny_english


@pytest.fixture
def to_itself(both):
    """tiny-gpt2 next to itself, with held-out texts."""
    config = alignment_config(source_layers=[1, 2], target_layers=[2])
    pairing = Pairing.of(config, (both[0], both[0]), "auto")
    return pairing, read_pieces(Reader(pairing, tiny_english(80), config, 0), pairing, 9, "n", held_out=True)


def affine(width, scale=1.0):
    return AffineMap(scale * torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))


def test_a_model_stitched_to_itself_is_itself(both, to_itself):
    pairing, pieces = to_itself
    width = both[0].shape.d_model
    maps = {(2, 2): affine(width), (1, 2): affine(width)}
    found = agreements(pieces, pairing, maps, {2: torch.zeros(width, dtype=torch.float64)}, backward=False)
    estimates = agreement_estimates(list(found.values()), Bootstrap(9, 0))
    assert estimates["stitched_kl"].value[0] == pytest.approx(0, abs=1e-6)
    assert estimates["stitched_agreement"].value[0] == 1
    assert estimates["loss_recovered"].value[0] == pytest.approx(1, abs=1e-6)
    assert estimates["stitched_loss"].value[0] == pytest.approx(estimates["own_loss"].value[0], abs=1e-6)
    assert estimates["stitched_kl"].value[1] > 0.1  # an earlier layer in the place of a later one
    assert estimates["mean_ablated_kl"].value[0] == estimates["mean_ablated_kl"].value[1] > 0.5


def test_sums_are_those_of_single_texts(both, to_itself):
    pairing, pieces = to_itself
    width, site = both[0].shape.d_model, Site("resid_post", 1)
    mean = torch.full((width,), 0.1, dtype=torch.float64)
    (found,) = agreements(pieces, pairing, {(2, 1): affine(width, 0.5)}, {1: mean}, backward=True).values()
    for row, each in enumerate(pieces):
        batch = StitchBatch.of([each], 0, 0, both[0].device)
        with torch.no_grad():
            own, stitched = log_probs(both[0], site, batch, None), log_probs(both[0], site, batch, 0.5 * batch.x)
        followed = batch.next_tokens != NO_TOKEN
        loss = -stitched[followed].gather(1, batch.next_tokens[followed][:, None]).sum()
        assert found.loss[row] == pytest.approx(float(loss), abs=1e-3)
        assert found.same_top[row] == int((own.argmax(1) == stitched.argmax(1)).sum())
        assert (found.n_positions[row], found.n_followed[row]) == (len(batch), int(followed.sum()))
    assert replaced_share(pieces, 0) == np.sum(found.n_positions) / sum(len(each.piece.ids[0]) for each in pieces)
