from __future__ import annotations

import json

import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.wang2022.config import Wang2022
from tests.conftest import only_run_folder

SMALL = [
    "experiment=wang2022", "tracker=none", "figures=false", "intervention.repeats=8", "intervention.n_reference=2",
    "intervention.random_sets=2", "intervention.greedy_steps=1", "task.n=16",
]  # fmt: skip


def test_the_preset_runs_the_paper_on_its_prompts(sweep, tmp_path):
    outcome = sweep(*SMALL)
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    assert json.loads((run / "metrics.json").read_text())["circuit_n_heads"] == 3
    assert "corruption: abc" in (run / "config.yaml").read_text()
    assert {path.name for path in run.iterdir()} >= {"roles.csv", "completeness.csv", "minimality.csv"}
    assert "IO > S: 1.00" in outcome.out


@pytest.mark.parametrize("changes", [{"controls": 19}, {"greedy_steps": -1}, {"n_reference": 1}])
def test_wrong_values_are_reported_with_their_key(changes):
    (key,) = changes
    with pytest.raises(LabError, match=rf"^intervention\.{key}: got "):
        Wang2022.from_config(changes, "intervention")
