"""`ioi-lab dashboard`: mistakes are one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ioi_lab.dashboard import command
from ioi_lab.errors import LabError


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "dash_ag_grid" else name)
    with pytest.raises(LabError, match=r"needs dash_ag_grid; install the extra: pip install 'ioi-lab\[dashboard\]'"):
        command.check(tmp_path, None)


def test_what_is_no_folder_or_no_port_is_named(tmp_path):
    with pytest.raises(LabError, match=r"'none' is not a folder; expected one with runs"):
        command.check(Path("none"), None)
    with pytest.raises(LabError, match="--port: got 70000, expected 1 to 65535"):
        command.check(tmp_path, 70000)


def test_a_mistake_ends_with_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["ioi-lab", str(tmp_path / "none"), "--no-browser"])
    with pytest.raises(SystemExit, match=r"^error: .*none' is not a folder"):
        command.main()
    monkeypatch.setattr(sys, "argv", ["ioi-lab", "--port", "x"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
