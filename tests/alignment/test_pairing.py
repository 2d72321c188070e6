"""Pairings: which layers of which models."""

from __future__ import annotations

import pytest

from ioi_lab.alignment.pairing import Pairing
from ioi_lab.errors import LabError
from tests.alignment.conftest import alignment_config


def test_a_layer_that_a_model_lacks_is_reported(both):
    with pytest.raises(LabError, match=r"alignment\.target_layers: got 4, expected 0 to 3 \(tiny-pythia\)"):
        Pairing.of(alignment_config(target_layers=[4]), both, "auto")


def test_layers_and_widths_are_those_that_are_selected(both):
    pairing = Pairing.of(alignment_config(source_layers=[1, 3], target_layers=2), both, "auto")
    assert pairing.layers == ([1, 3], [2])
    assert pairing.names == ("tiny-gpt2", "tiny-pythia")
    assert pairing.sizes == ((2, both[0].shape.d_model), (1, both[1].shape.d_model))
