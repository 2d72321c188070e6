"""Where maps come from: the layers that are asked for, and the key that an error names."""

from __future__ import annotations

import pytest

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import TinyEnglish
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.errors import LabError
from ioi_lab.interventions.transfer.map_source import MapSource

CORPUS = TinyEnglish(name="tiny_english", n=60, seed=0)


def test_maps_of_one_pair_of_layers_are_fitted_alone(tiny_models):
    source = MapSource(AlignmentConfig(), CORPUS, None).between((3, 2))
    maps = source.maps(Pairing.of(source.alignment, tiny_models, "auto"), 0)
    assert list(maps.forward) == [(3, 2)]
    assert list(maps.backward) == [(2, 3)]
    assert maps.title == "ridge map fitted on tiny english"


def test_an_error_names_the_key_of_the_corpus(tiny_models):
    few = MapSource(AlignmentConfig(), TinyEnglish(name="tiny_english", n=5, seed=0), None, "intervention.other_corpus")
    with pytest.raises(LabError, match=r"^intervention\.other_corpus: tiny english has 5 texts"):
        few.maps(Pairing.of(few.alignment, tiny_models, "auto"), 0)
