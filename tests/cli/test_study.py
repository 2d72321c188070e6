"""`ioi-lab study` from the command line: going on in the last folder, a dry run, and mistakes."""

from __future__ import annotations

import pytest

from ioi_lab.cli.study import as_hydra_takes_it
from ioi_lab.cli.study import main as study_entry_point
from tests.conftest import command_line, run_folders

SMALL = ("tracker=none", "figures=false", "task.n=8", "study.steps=[baseline,attribution]")


@pytest.fixture
def study(tmp_path, monkeypatch, capfd):
    return command_line(study_entry_point, "study", tmp_path, monkeypatch, capfd)


def test_the_same_command_goes_on_in_the_same_folder(study, tmp_path):
    first = study(*SMALL)
    assert first.code == 0, first.err
    folders = run_folders(tmp_path)
    assert len(folders) == 3
    stamps = [(folder / "status.json").stat().st_mtime_ns for folder in folders[1:]]
    again = study(*SMALL)
    assert "going on in" in again.out
    assert run_folders(tmp_path) == folders
    assert [(folder / "status.json").stat().st_mtime_ns for folder in folders[1:]] == stamps
    assert study(*SMALL, "resume=false").code == 0
    assert len(run_folders(tmp_path)) == 6


def test_a_dry_run_leaves_nothing(study, tmp_path):
    outcome = study(*SMALL, "dry_run=true")
    assert outcome.code == 0
    assert "2 steps, none of which is run" in outcome.out
    assert not run_folders(tmp_path)
    assert not list(tmp_path.glob("runs/study/*/*"))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("study.steps=[hads]", "error: study.steps: got 'hads' (did you mean heads?)"),
        ("steps.attribution.intervention.prompts=foo", "error: steps.attribution.intervention.prompts: got 'foo'"),
        ("model@source=foo", "error: model@source: got 'foo'"),
        ("target=tiny-gpt2", "error: target: this is a key of ioi-lab align; ioi-lab study has model, source, task"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(study, tmp_path, override, line):
    outcome = study(*SMALL, override)
    assert outcome.code == 1
    assert outcome.error_line.startswith(line)
    assert not run_folders(tmp_path)
    assert not list(tmp_path.glob("runs/study/*/*"))


def test_names_that_hydra_takes():
    assert as_hydra_takes_it("source=tiny-pythia") == "model@source=tiny-pythia"
    assert as_hydra_takes_it("steps.lens.task.n=3") == "++steps.lens.task.n=3"
    assert as_hydra_takes_it("steps.lens.intervention.top_k=3") == "steps.lens.intervention.top_k=3"
