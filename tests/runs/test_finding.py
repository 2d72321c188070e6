"""Run folders are found at any depth, once, whatever is next to them."""

from __future__ import annotations

import os

from ioi_lab.runs.finding import run_folders
from ioi_lab.storage.files import write_json


def finished(path):
    write_json(path / "status.json", {"status": "done"})


def test_run_folders_are_found_at_any_depth_but_not_in_each_other(tmp_path):
    for path in ("a", "a/inner", "b/c/d", "b/e"):
        write_json(tmp_path / path / "status.json", {"status": "running"})
    (tmp_path / "empty").mkdir()
    assert sorted(str(path.relative_to(tmp_path)) for path in run_folders(tmp_path)) == ["a", "b/c/d", "b/e"]


def test_linked_folders_are_found_once(tmp_path):
    for path in ("a/0", "b/1"):
        finished(tmp_path / "runs" / path)
    (tmp_path / "runs" / "a" / "loop").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "a" / "same").symlink_to(tmp_path / "runs" / "b")
    finished(tmp_path / "elsewhere" / "2")
    (tmp_path / "runs" / "c").symlink_to(tmp_path / "elsewhere")
    found = [str(path.relative_to(tmp_path / "runs")) for path in run_folders(tmp_path / "runs")]
    assert found == ["a/0", "b/1", "c/2"]
    assert list(run_folders(tmp_path / "nowhere")) == []


def test_a_folder_without_permission_is_one_line(tmp_path, monkeypatch):
    """Root may read everything, so the system's answer is simulated."""
    for name in ("0", "1"):
        finished(tmp_path / name)
    plain = os.path.lexists

    def lexists(path):
        if path == tmp_path / "1" / "status.json":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os.path, "lexists", lexists)
    assert list(run_folders(tmp_path)) == [tmp_path / "0", tmp_path / "1"]
