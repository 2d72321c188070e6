"""The same sweep under every launcher that tests can reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_folders

SWEEP = Path(__file__).resolve().parents[2] / "sweep.py"
GRID = ("tracker=none", "task.n=4", "intervention.layer=0,2", "intervention.head=0,1")


@pytest.mark.parametrize(
    "launcher",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"),
    ],
    ids=lambda launcher: launcher[0].split("=")[1],
)
def test_other_launchers_give_the_numbers_of_the_basic_one(tmp_path, launcher):
    folders = {}
    for name, options in (("basic", ()), ("other", launcher)):
        command = [sys.executable, str(SWEEP), "-m", f"name={name}", *GRID, *options]
        outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stderr
        assert "4 runs (4 done)" in outcome.stdout
        folders[name] = [run for run in run_folders(tmp_path) if name in run.parts]
    assert [run.name for run in folders["basic"]] == [run.name for run in folders["other"]] == ["0", "1", "2", "3"]
    for one, other in zip(folders["basic"], folders["other"], strict=True):
        for name in ("results.csv", "metrics.json", "prompts.csv"):
            assert (one / name).read_text() == (other / name).read_text()


def test_a_mistake_in_one_job_is_told_by_other_launchers_too(tmp_path):
    command = [sys.executable, str(SWEEP), "-m", *GRID[:2], "intervention.layer=0,9", "hydra/launcher=joblib"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert "2 runs (1 done, 1 failed)" in outcome.stdout
    assert "intervention.layer: got 9, expected 0 to 3" in outcome.stdout
