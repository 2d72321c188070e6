"""The rules that choose pairs of layers."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.alignment.layer_pairs import chosen_pairs
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import CorpusMoments
from tests.alignment.conftest import alignment_config


def pairing_of(both, **layers):
    return Pairing.of(alignment_config(**layers), both, "auto")


def test_depth_is_relative(both):
    pairing = pairing_of(both, source_layers=[0, 1, 2, 3], target_layers=[0, 3])
    assert chosen_pairs("depth", None, pairing) == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert len(chosen_pairs("all", None, pairing)) == 8


def test_best_is_the_layer_that_is_predicted_best(both):
    pairing = pairing_of(both, source_layers=[0, 1], target_layers=[0, 1, 2])
    moments = CorpusMoments.zeros(pairing, 3)
    generator = torch.Generator().manual_seed(0)
    for fold in moments.folds:
        source = torch.randn(400, 2, pairing.sizes[0][1], generator=generator, dtype=torch.float64)
        noise = torch.randn(400, 3, pairing.sizes[1][1], generator=generator, dtype=torch.float64)
        noise[:, 2, :8] += 3 * source[:, 0, :8]
        noise[:, 1, :8] += 3 * source[:, 1, :8]
        fold.add(source, noise)
    assert chosen_pairs("best", moments, pairing) == [(0, 2), (1, 1)]


@pytest.mark.parametrize("rule", ["depth", "best"])
def test_without_a_choice_the_only_layer_is_taken(both, rule):
    pairing = pairing_of(both, source_layers=[1], target_layers=[2])
    moments = CorpusMoments.zeros(pairing, 2)
    for fold in moments.folds:
        source = torch.eye(pairing.sizes[0][1], dtype=torch.float64)[:, None]
        fold.add(source, torch.ones(len(source), 1, pairing.sizes[1][1], dtype=torch.float64))
    assert chosen_pairs(rule, moments, pairing) == [(0, 0)]
