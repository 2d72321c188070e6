"""What the table of runs shows of a run."""

from __future__ import annotations

import pytest

from ioi_lab.dashboard.entries import Entry, model_of, read_entry
from ioi_lab.dashboard.places import RunsFolder


@pytest.fixture
def runs(runs_folder):
    return RunsFolder(runs_folder)


def test_a_finished_run_has_its_headline_with_the_interval(leave, runs):
    folder = leave("sweep/now/3", {"intervention.layer": 3}, best_recovery=0.5)
    (folder.parent / "multirun.yaml").write_text("hydra: {}")
    entry, row = read_entry(runs, "sweep/now/3")
    assert (entry.model, entry.task, entry.intervention, entry.status) == ("tiny-gpt2", "ioi", "patch", "done")
    assert (entry.headline, entry.value, entry.low, entry.high) == ("best_recovery", 0.5, 0.7, 0.9)
    assert (entry.sweep, entry.seconds, entry.updated) == ("sweep/now", 1.5, 1767225600.0)
    assert entry.title == "patch · tiny-gpt2 · ioi"
    assert row["intervention.layer"] == row["typed.intervention.layer"] == 3


def test_failed_running_and_damaged_runs_are_shown_as_such(leave, runs):
    leave("failed", status="failed", error="layer: got 99")
    leave("running", status="running")
    (leave("damaged") / "metrics.json").unlink()
    (runs.path / "empty").mkdir()
    (runs.path / "empty" / "status.json").write_text("{")
    states = {name: read_entry(runs, name)[0] for name in ("failed", "running", "damaged", "empty")}
    assert {name: entry.status for name, entry in states.items()} == {
        "failed": "failed",
        "running": "stopped",  # no process works in it
        "damaged": "damaged",
        "empty": "damaged",
    }
    assert states["failed"].error == "layer: got 99"
    assert "metrics.json is missing" in states["damaged"].error
    assert states["damaged"].value is None


@pytest.mark.parametrize("name", ["config.yaml", "status.json", ".hydra/overrides.yaml"])
def test_files_that_are_links_out_of_the_folder_are_not_read(leave, runs, tmp_path, name):
    folder = leave("demo")
    secret = tmp_path / "secret.yaml"
    secret.write_text('{"status": "failed", "error": "secret"}')
    (folder / name).unlink()
    (folder / name).symlink_to(secret)
    entry, row = read_entry(runs, "demo")
    assert entry.status == "damaged"
    assert "link that leads out" in entry.error
    assert "secret" not in str(row) + str(entry)


def test_values_of_other_types_are_left_out():
    entry = Entry.of("x", {"status": "done", "headline": 3, "model.name": ["a"], "updated": "never", "seconds": "1"})
    assert entry == Entry("x", "done")
    assert entry.title == "x"


def test_both_models_of_a_transfer_are_named():
    assert model_of({"model.name": "a", "source.name": "b"}) == "a · b"
    assert model_of({"model.path": "folder"}) == "folder"
