"""What a command line ends with, in this process and without running anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from ioi_lab.cli import sweep, train_align
from ioi_lab.cli.command import run_command
from ioi_lab.jobs.job import PreparedJob

PROGRAMS = {"sweep": sweep.main, "train_align": train_align.main}


class TypedLine:
    """Types command lines: an instance is the fixture `typed_line`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._monkeypatch, self._capsys, self._folder = monkeypatch, capsys, folder
        monkeypatch.chdir(folder)
        monkeypatch.setattr("ioi_lab.jobs.job.run_job", check_only)

    def __call__(self, *words: str, program: str = "sweep") -> str:
        """Return the one line that a wrong command prints; it must end with exit code 1 and leave no file."""
        self._monkeypatch.setattr(sys, "argv", [f"{program}.py", *words])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as ended:
            run_command(PROGRAMS[program], program)
        printed = self._capsys.readouterr()
        assert ended.value.code == 1
        (line,) = printed.err.splitlines()
        assert not printed.out
        assert line.startswith("error: ")
        assert not [
            path
            for path in self._folder.rglob("*")
            if path.name in ("status.json", "config.yaml", "results.csv") and ".hydra" not in path.parts
        ]
        return line.removeprefix("error: ")


def check_only(prepared: PreparedJob, *_: object) -> None:
    """Check the config as a run does first."""
    assert prepared.job
    raise AssertionError("nothing is wrong with this command")
