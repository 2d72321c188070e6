"""The progress bar of a multirun, which reads its folder."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest
from tqdm import tqdm

from ioi_lab.runs import progress
from ioi_lab.runs.progress import ConsoleHandler, Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def write_status(folder, job, status, updated="2100-01-01T00:00:00Z"):
    (folder / job).mkdir(parents=True, exist_ok=True)
    (folder / job / "status.json").write_text(json.dumps({"status": status, "updated": updated}))


@pytest.fixture
def terminal(monkeypatch):
    screen = Terminal()
    plain = tqdm.__init__
    monkeypatch.setattr(
        progress.tqdm, "__init__", lambda bar, **named: plain(bar, **named, file=screen, ncols=100, mininterval=0)
    )
    return screen


def last(screen):
    return [line for line in re.split(r"[\r\n]", screen.getvalue()) if "jobs" in line][-1]


def test_jobs_done_and_failed(tmp_path, terminal):
    write_status(tmp_path, "0", "done")
    bar = Progress(tmp_path, 8)
    assert "1/8" in last(terminal)
    for job, status in (("1", "done"), ("2", "failed"), ("3", "running")):
        write_status(tmp_path, job, status)
    write_status(tmp_path, "4", "failed", updated="2000-01-01T00:00:00Z")  # of an earlier try: it is still to come
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "status.json").write_text("{")
    bar.close()
    assert "2/8" in last(terminal)
    assert "failed=1" in last(terminal)
    bar.close()


def test_without_a_terminal_there_is_none(tmp_path, capsys):
    bar = Progress(tmp_path, 8)
    assert not bar._thread.is_alive()
    bar.close()
    assert capsys.readouterr().err == ""


def test_lines_are_written_above_the_bar(terminal, tmp_path):
    bar = Progress(tmp_path, 8)
    handler = ConsoleHandler(terminal)
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "a line", None, None))
    bar.close()
    assert any(line == "a line" for line in re.split(r"[\r\n]", terminal.getvalue()))
