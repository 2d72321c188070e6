"""The result of a grid, from the readout of a toy engine."""

from __future__ import annotations

import pytest

from ioi_lab.engine.edits import Site
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.grid_measure import grid_result
from ioi_lab.interventions.grid_result import Row
from ioi_lab.interventions.self_checks import SelfChecks
from tests.interventions.toy import CLEAN, CORRUPTED, ToyEngine, readout


@pytest.mark.parametrize(("base", "unchanged"), [("corrupted", CORRUPTED), ("clean", CLEAN)])
def test_effects_are_changes_of_recovery_from_the_edited_pass(base, unchanged):
    engine = ToyEngine()
    rows = [Row([Site("z", 0, head)], f"0.{head}") for head in range(3)]
    values = [unchanged, unchanged + 1.0, unchanged - 2.0]
    result = grid_result(engine, Baselines.measure(engine), rows, readout(values), SelfChecks(1.0, 0.0), base, "head")
    assert result.effect.value == pytest.approx([0.0, 1 / 4, -2 / 4])
    assert result.ranking == [2, 1, 0]
    assert (result.noun, result.rows) == ("head", rows)
