"""Texts in memory: their activations are those of the corpus, and they fit the bound."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.alignment import text_activations
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.positions import HELD_OUT
from ioi_lab.alignment.reading import Reader
from ioi_lab.alignment.text_activations import joined_activations, read_pieces
from ioi_lab.errors import LabError
from tests.alignment.conftest import alignment_config, all_activations, tiny_english


def test_they_are_the_activations_of_the_corpus(both):
    config, corpus = alignment_config(source_layers=[1, 3], target_layers=[2]), tiny_english(60)
    pairing = Pairing.of(config, both, "auto")
    reader = Reader(pairing, corpus, config, 0)
    x, y, folds = all_activations(both, config, corpus)
    for held_out in (False, True):
        pieces = read_pieces(reader, pairing, 1000, "n", held_out=held_out)
        rows = (folds == HELD_OUT) == held_out
        assert torch.allclose(joined_activations(pieces, 0, 1), x[rows, 1].float(), atol=1e-4)
        assert torch.allclose(joined_activations(pieces, 1, 0), y[rows, 0].float(), atol=1e-4)
    some = read_pieces(reader, pairing, 7, "n", held_out=False)
    assert len({each.piece.text for each in some}) == 7
    of_fold = [each.activations[0][:, 0] for each in some if each.piece.fold == 1]
    assert torch.equal(joined_activations(some, 0, 0, [1]), torch.cat(of_fold))


def test_more_than_the_bound_is_reported(both, monkeypatch):
    monkeypatch.setattr(text_activations, "_SHARE", 1e-9)
    config = alignment_config()
    pairing = Pairing.of(config, both, "auto")
    with pytest.raises(LabError, match=r"engine\.memory_gb: the activations of .* choose a smaller n or fewer layers"):
        read_pieces(Reader(pairing, tiny_english(60), config, 0), pairing, 60, "n", held_out=False)
