"""Which heads are named, and which maps are fitted."""

from __future__ import annotations

import pytest

from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.training import TrainingSettings
from ioi_lab.errors import LabError
from ioi_lab.interventions.transfer.head_options import HeadOptions
from ioi_lab.transfer.head_maps import OutputMaps
from ioi_lab.transfer.stitched_maps import StitchedMaps
from tests.alignment.conftest import alignment_config
from tests.transfer.conftest import on_prompts


def test_heads_are_named_or_the_best_and_must_be_in_mapped_layers(tiny_models):
    pairing = Pairing.of(alignment_config(source_layers=[2, 3], target_layers=[3]), tiny_models, "auto")
    assert HeadOptions("best", "3.1").chosen(pairing) == (None, (3, 1))
    with pytest.raises(LabError, match=r"intervention\.head: got 2\.1, but its layer is not among those .* \[3\]"):
        HeadOptions("2.0", "2.1").chosen(pairing)


@pytest.mark.parametrize(("maps", "kind"), [("outputs", OutputMaps), ("stitched", StitchedMaps)])
def test_maps_of_outputs_are_fitted_or_trained(tiny_models, maps, kind):
    settings = TrainingSettings(5, 8, 1e-3, 0.0, 5, 2, 0)
    options = HeadOptions("best", "best", maps=maps)
    fitted = options.maps_of_outputs(on_prompts(tiny_models, n=64), ([3], [3]), "END", settings)
    assert isinstance(fitted, kind)
    assert ("trained by stitching" in options.title) == (maps == "stitched")
