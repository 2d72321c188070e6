"""The direction of patching; its exactness is tested with the engine, its grid with all grids."""

from __future__ import annotations

import pytest

from ioi_lab.engine.edits import FromPass
from ioi_lab.interventions.patch import Patch
from tests.interventions.toy import ToyEngine, patch, plan_of


@pytest.mark.parametrize(
    ("direction", "base", "source"), [("denoise", "corrupted", "clean"), ("noise", "clean", "corrupted")]
)
def test_direction(direction, base, source):
    intervention = patch(direction=direction)
    assert intervention.base == base
    assert {edits[0].value for edits in plan_of(intervention, ToyEngine())} == {FromPass(source)}


def test_titles():
    assert patch().title == "patch z"
    assert patch(component="mlp_out", direction="noise").title == "patch mlp_out (noise)"


def test_patch_has_the_defaults_of_its_yaml():
    assert Patch(component="z") == patch()
    assert Patch().measure(ToyEngine([0.0] * 6)).noun == "head"
