"""The plan of a study counts what its steps would run."""

from __future__ import annotations

from pathlib import Path

from ioi_lab.models.loading import load_model
from ioi_lab.studies.plan import planned_steps, print_plan
from tests.studies.conftest import study_of


def test_edits_and_passes_are_counted():
    study = study_of("tracker=none", "task.n=6", "model@source=tiny-pythia")
    planned = {each.step.name: each for each in planned_steps(study, load_model(study.model), Path())}
    assert planned["heads"].n_edit_sets == 16
    assert planned["heads"].n_passes == (16 + 2) * 6
    assert planned["attention"].n_edit_sets == 0
    assert planned["attention"].chosen == ("heads", "keys")
    assert planned["circuit"].n_edit_sets == (15 + 9 * 21) // 2 or planned["circuit"].n_edit_sets == (15 + 10 * 21) // 2
    assert planned["align"].n_passes is None


def test_the_plan_is_printed_with_minutes_and_memory(capsys):
    print_plan(study_of("tracker=none", "task.n=4", "study.steps=[baseline,heads]"), Path())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study · tiny-gpt2 · ioi: 2 steps, none of which is run"
    assert lines[3].split()[:4] == ["heads", "16", "4", "72"]
    assert "MiB of weights" in lines[-1]
