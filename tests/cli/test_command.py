"""What the command line makes of flags, signals and a lack of memory."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from ioi_lab.cli.command import _flags_first
from ioi_lab.errors import LabError
from ioi_lab.interventions.patch import Patch
from ioi_lab.runs.reading import is_done, read_status
from tests.conftest import only_run_folder, run_folders

SHORT = ("tracker=none", "task.n=4", "figures=false")


def test_flags_go_before_overrides_which_stay_as_typed():
    typed = ["task.n=3", "-m", "task.prompt=Hi, Mary", "--config-name", "config", "task.path=~/a b"]
    assert _flags_first(typed) == [
        *("-m", "--config-name", "config"),
        *("task.n=3", 'task.prompt="Hi, Mary"', 'task.path="~/a b"'),
    ]


def test_a_flag_that_hydra_does_not_have_is_refused():
    with pytest.raises(LabError, match=r"^--task: no such flag"):
        _flags_first(["--task"])


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "interrupted by SIGTERM"),
        (signal.SIGHUP, 129, "interrupted by SIGHUP"),
    ],
)
def test_a_signal_marks_the_run_says_so_and_sets_the_exit_code(sweep, tmp_path, monkeypatch, number, code, line):
    monkeypatch.setattr(Patch, "report", lambda *_: os.kill(os.getpid(), number))
    outcome = sweep(*SHORT)
    run = only_run_folder(tmp_path)
    assert outcome.code == code
    assert outcome.err == f"{line}; {run.relative_to(tmp_path)} is not done\n"
    assert (read_status(run)["status"], read_status(run)["error"]) == ("failed", "interrupted")


def test_a_signal_ends_a_multirun_with_the_command_that_goes_on(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(Patch, "report", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    outcome = sweep("-m", *SHORT, "intervention.layer=0,1")
    run = only_run_folder(tmp_path)
    assert outcome.code == 143
    where = run.parent.relative_to(tmp_path)
    assert outcome.err == f"interrupted by SIGTERM; the same command goes on in {where}\n"
    assert read_status(run)["error"] == "interrupted"


def test_a_signal_while_a_run_is_tracked_leaves_it_done(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("ioi_lab.jobs.job.track", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    outcome = sweep(*SHORT[1:])
    run = only_run_folder(tmp_path)
    assert (outcome.code, is_done(run)) == (143, True)
    assert outcome.err == f"interrupted by SIGTERM; {run.relative_to(tmp_path)} is done\n"


def test_a_signal_ends_an_alignment_as_an_experiment(train_align, tmp_path, monkeypatch):
    """While its model is loaded."""
    monkeypatch.setattr("ioi_lab.jobs.alignment.load_model", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    outcome = train_align("tracker=none")
    assert outcome.code == 143
    run = only_run_folder(tmp_path)
    assert outcome.err == f"interrupted by SIGTERM; {run.relative_to(tmp_path)} is not done\n"


def test_a_lack_of_memory_fails_one_job_in_one_line(sweep, tmp_path, monkeypatch):
    plain = Patch.measure

    def measure(self, engine):
        return torch.empty(10**15) if self.layer == 0 else plain(self, engine)

    monkeypatch.setattr(Patch, "measure", measure)
    outcome = sweep("-m", *SHORT, "intervention.layer=0,1")
    assert outcome.code == 1
    assert "2 runs (1 failed, 1 done)" in outcome.out
    assert outcome.error_line.startswith("error: job 0 (")
    assert "): not enough memory on this machine" in outcome.error_line
    first, second = run_folders(tmp_path)
    assert not (first / "traceback.txt").exists()
    assert read_status(first)["error"].startswith("not enough memory")
    assert is_done(second)


def test_a_lack_of_memory_ends_a_single_run_in_one_line(sweep, monkeypatch):
    monkeypatch.setattr(Patch, "measure", lambda *_: torch.empty(10**15))
    outcome = sweep(*SHORT)
    assert outcome.code == 1
    assert outcome.error_line.startswith("error: not enough memory on this machine (for 4000000000000000 bytes more)")
