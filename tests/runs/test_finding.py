"""Run folders are found at any depth, once, whatever is next to them."""

from __future__ import annotations

import os

import pytest

from ioi_lab.errors import LabError
from ioi_lab.runs.finding import find_run, folder_of_runs, run_folders
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


@pytest.fixture
def left(leave, tmp_path, monkeypatch):
    """Runs in `runs/`: two done ones and a failed one named demo, a later sweep, a name with sweeps only."""
    monkeypatch.chdir(tmp_path)
    for folder, day in (("demo/1", 1), ("demo/2", 2), ("demo/4/0", 4), ("demo/4/1", 4), ("grid/5/0", 5)):
        path = leave(f"runs/{folder}", {"seed": day}, best_recovery=0.5)
        write_json(path / "status.json", {"status": "done", "started": f"2026-01-0{day}T00:00:00Z"})
    leave("runs/demo/3", {"seed": 3}, status="failed")
    leave("runs/broken/1", {"seed": 3}, status="failed")
    (tmp_path / "runs" / "empty").mkdir()
    for sweep in ("demo/4", "grid/5"):
        (tmp_path / "runs" / sweep / "multirun.yaml").touch()


@pytest.mark.parametrize(
    ("place", "run"),
    [
        ("runs/demo", "runs/demo/2"),
        ("latest", "runs/demo/2"),
        ("runs", "runs/demo/2"),
        ("runs/demo/1", "runs/demo/1"),
        ("runs/demo/3", "runs/demo/3"),
        ("runs/demo/4/1", "runs/demo/4/1"),
    ],
)
def test_a_run_is_found_by_its_folder_its_name_or_as_the_latest(left, place, run):
    """A failed run is found by its own folder alone, and so is a job of a sweep."""
    assert str(find_run(place)) == run


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("runs/demoo", "'runs/demoo' is not a run folder: it has no status.json (did you mean 'runs/demo'?)"),
        ("runs/empty", "'runs/empty' is not a run folder: it has no status.json, and no run is in it"),
        ("runs/broken", "'runs/broken' is not a run folder: none of the 1 runs in it is done"),
        ("runs/demo/4", "'runs/demo/4' is the folder of a sweep; expected one of its runs, such as runs/demo/4/0"),
        (
            "runs/grid",
            "'runs/grid' is not a run folder: it has sweeps only; expected one of their runs, such as runs/grid/5/0",
        ),
    ],
)
def test_a_folder_without_a_run_is_one_line(left, place, line):
    with pytest.raises(LabError) as error:
        find_run(place, "maps")
    assert str(error.value) == f"maps: {line}"


def test_the_latest_of_all_runs_may_be_a_sweep(left, tmp_path, monkeypatch):
    assert str(folder_of_runs("latest")) == "runs/grid/5"
    assert str(folder_of_runs("runs/demo")) == "runs/demo"
    monkeypatch.chdir(tmp_path / "runs" / "empty")
    with pytest.raises(LabError, match="'latest': there is no finished run in 'runs'"):
        folder_of_runs("latest")
