"""The index of runs follows what happens in the folder, and writes nothing into it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time

import pytest

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.index import Index, Refresher, stamp_of
from ioi_lab.dashboard.places import RunsFolder


def folders(index):
    return [entry.folder for entry in index.entries()]


def test_the_newest_run_comes_first(leave, index_of):
    leave("old", updated="2026-01-01T00:00:00Z")
    leave("new", updated="2026-01-03T00:00:00Z")
    leave("middle", updated="2026-01-02T00:00:00Z")
    assert folders(index_of()) == ["new", "middle", "old"]


def test_changes_are_told_since_a_version(leave, index_of, runs_folder):
    for name in ("a", "b", "c"):
        leave(name)
    index = index_of()
    first = index.changes(0)
    assert sorted(entry.folder for entry in first.added) == ["a", "b", "c"]
    assert index.changes(first.version).version == first.version
    shutil.rmtree(runs_folder / "a")
    (runs_folder / "b" / "status.json").write_text(json.dumps({"status": "failed", "error": "no memory"}))
    leave("d")
    index.refresh()
    changes = index.changes(first.version)
    assert [entry.folder for entry in changes.added] == ["d"]
    assert [(entry.folder, entry.error) for entry in changes.updated] == [("b", "no memory")]
    assert changes.removed == ["a"]
    assert sorted(folders(index)) == ["b", "c", "d"]
    assert index.changes(changes.version).added == []


def test_a_run_that_came_and_went_is_not_removed_from_who_never_saw_it(leave, index_of, runs_folder):
    index = index_of()
    version = index.changes(0).version
    leave("a")
    index.refresh()
    shutil.rmtree(runs_folder / "a")
    index.refresh()
    changes = index.changes(version)
    assert changes.added == changes.removed == []


def test_what_is_unchanged_is_not_read_again(leave, index_of, monkeypatch):
    leave("a")
    index = index_of()
    read = []
    monkeypatch.setattr("ioi_lab.dashboard.index.read_entry", lambda _, name: read.append(name))
    index.refresh()
    assert read == []


def test_a_file_that_vanishes_from_a_finished_run_is_noticed(leave, index_of, runs_folder):
    leave("a")
    index = index_of()
    time.sleep(0.01)
    (runs_folder / "a" / "results.csv").unlink()
    index.refresh()
    assert index.get("a").status == "damaged"


def test_a_running_run_is_looked_at_each_time(leave, index_of, runs_folder):
    import fcntl

    folder = leave("a", status="running")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        index = index_of()
        assert index.get("a").status == "running"
    index.refresh()
    assert index.get("a").status == "stopped"


def test_it_is_kept_in_the_cache_folder_and_nothing_in_the_runs_folder(leave, runs_folder, tmp_path):
    leave("a", best_recovery=0.25)
    before = sorted(runs_folder.rglob("*"))
    first = Index(RunsFolder(runs_folder), tmp_path / "cache")
    first.refresh()
    again = Index(RunsFolder(runs_folder), tmp_path / "cache")
    assert folders(again) == ["a"]  # before anything is read
    assert again.details(["a", "none"]) == first.details(["a"])
    assert again.details(["a"])["a"]["best_recovery"] == 0.25
    assert sorted(runs_folder.rglob("*")) == before


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_file_of_the_index_is_made_anew(leave, runs_folder, tmp_path, content):
    leave("a")
    cache = tmp_path / "cache"
    Index(RunsFolder(runs_folder), cache).refresh()
    (file,) = cache.iterdir()
    file.write_bytes(content)
    index = Index(RunsFolder(runs_folder), cache)
    index.refresh()
    assert folders(index) == ["a"]


def test_without_a_cache_folder_it_is_in_memory(leave, runs_folder, tmp_path):
    leave("a")
    (tmp_path / "file").write_text("")
    index = Index(RunsFolder(runs_folder), tmp_path / "file" / "cache")
    index.refresh()
    assert folders(index) == ["a"]


def test_runs_behind_links_that_lead_out_are_counted_and_not_shown(leave, index_of, runs_folder, tmp_path):
    leave("a")
    shutil.copytree(runs_folder / "a", tmp_path / "elsewhere")
    (runs_folder / "link").symlink_to(tmp_path / "elsewhere")
    index = index_of()
    assert folders(index) == ["a"]
    assert index.left_out == 1


def test_a_folder_that_is_a_run_is_the_run(leave, runs_folder):
    index = Index(RunsFolder(leave("a")))
    index.refresh()
    assert folders(index) == ["."]
    assert index.get("") == index.get(".")


def test_steps_of_a_study_are_runs(leave, index_of, runs_folder):
    study = leave("study/now", status="failed", error="interrupted")
    config = study / "config.yaml"
    config.write_text(config.read_text().replace("  name: patch\n", "") + "study: {steps: all}\n")
    leave("study/now/01-baseline")
    leave("study/now/02-heads")
    (study / "plots").mkdir()
    leave("demo/now")
    leave("demo/now/inside")
    index = index_of()
    assert sorted(folders(index)) == ["demo/now", "study/now", "study/now/01-baseline", "study/now/02-heads"]
    assert index.get("study/now").intervention == "study"


def test_stamps_change_with_the_status(leave):
    folder = leave("a")
    before = stamp_of(folder)
    os.utime(folder / "status.json", ns=(1, 2))
    assert stamp_of(folder) != before
    assert stamp_of(folder / "none") == "0"


def test_the_refresher_reads_while_pages_are_open(leave, index_of):
    index = index_of()
    refresher = Refresher(index, pause=0.01, patience=0.2)
    refresher.start()
    leave("a")
    deadline = time.monotonic() + 10
    while not index.entries() and time.monotonic() < deadline:
        refresher.ask()
        time.sleep(0.01)
    assert isinstance(index.get("a"), Entry)


def test_the_refresher_goes_on_after_an_error_of_the_store(index_of, monkeypatch):
    index, calls = index_of(), []

    def refresh():
        calls.append(1)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(index, "refresh", refresh)
    refresher = Refresher(index, pause=0.01, patience=5.0)
    refresher.start()
    deadline = time.monotonic() + 10
    while len(calls) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(calls) > 1
    assert refresher.is_alive()
