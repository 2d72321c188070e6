"""The end of a sweep, from folders that runs have left."""

from __future__ import annotations

import json
import logging

import pytest
from omegaconf import OmegaConf

from ioi_lab.runs import summary
from ioi_lab.runs.summary import sum_up


@pytest.fixture
def tracked(monkeypatch):
    """The runs that would have been logged to W&B, with their trackers."""
    calls = []
    monkeypatch.setattr(summary, "track", lambda run, tracker: calls.append((run, tracker)))
    return calls


@pytest.fixture
def finished(leave, tmp_path):
    """A sweep of three layers, the second of which has failed."""
    for layer, value in ((0, 0.5), (2, -0.25)):
        run = leave(f"heads/now/{layer}", {"intervention.layer": layer}, best_recovery=value)
        config = OmegaConf.load(run / "config.yaml")
        OmegaConf.update(config, "tracker", {"name": "wandb", "mode": "offline", "project": "mine"})
        OmegaConf.save(config, run / "config.yaml")
    leave("heads/now/1", {"intervention.layer": 1}, status="failed", error="no")
    return tmp_path / "heads" / "now"


def test_table_and_figures_are_written_and_lines_logged(finished, tracked, caplog):
    with caplog.at_level(logging.INFO):
        sum_up(finished)
    assert (finished / "sweep.csv").is_file()
    assert (finished / "plots" / "best_recovery_by_layer.png").is_file()
    assert "best recovery" in (finished / "report.html").read_text()
    assert "3 runs (2 done, 1 failed)" in caplog.text
    assert "1 (intervention.layer=1): failed: no" in caplog.text


def test_the_summary_is_a_run_in_the_group_of_the_jobs(finished, tracked):
    sum_up(finished)
    ((run, tracker),) = tracked
    assert (tracker.name, tracker.mode, tracker.project) == ("wandb", "offline", "mine")
    assert (run.title, run.group, run.job_type) == ("summary of heads now", "heads now", "summary")
    assert run.config == {"swept": ["intervention.layer"]}
    expected = {"n_jobs": 3, "n_done": 2, "highest_best_recovery": 0.5, "lowest_best_recovery": -0.25}
    assert run.metrics == expected
    assert list(run.media) == ["best_recovery_by_layer", "report"]
    assert run.tables["results"]["intervention.layer"].tolist() == [0, 1, 2]


def test_a_sweep_that_is_resumed_keeps_its_summary(finished, tracked):
    for _ in range(2):
        sum_up(finished)
    (finished / "wandb.json").write_text("{")
    sum_up(finished)
    first, second, third = (run.id for run, _ in tracked)
    assert first == second != third
    assert json.loads((finished / "wandb.json").read_text()) == {"id": third}


def test_without_a_tracker_nothing_is_logged(leave, tmp_path, tracked):
    leave("heads/now/0", {"intervention.layer": 0}, best_recovery=0.5)
    sum_up(tmp_path / "heads" / "now")
    assert tracked == []


def test_a_sweep_without_a_finished_run_is_only_listed(leave, tmp_path, tracked, caplog):
    leave("heads/now/0", {}, status="failed", error="no")
    with caplog.at_level(logging.INFO):
        sum_up(tmp_path / "heads" / "now")
    assert "1 runs (1 failed)" in caplog.text
    assert tracked == []


def test_what_cannot_be_summarized_is_one_line(tmp_path, caplog):
    sum_up(tmp_path)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith(f"the sweep in {tmp_path} could not be summarized: ")
    assert "contains no runs" in record.message


def test_jobs_of_other_code_are_reported(finished, tracked, caplog):
    """As after two processes with different code have shared the sweep."""
    sum_up(finished)
    assert "other code" not in caplog.text
    path = finished / "0" / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["identity"]["code"] = "other"
    path.write_text(json.dumps(provenance))
    sum_up(finished)
    assert "1 of these runs were done with other code than the rest; the same command runs them again" in caplog.text
