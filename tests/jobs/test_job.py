"""The life of a run, with a job that needs no model."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pandas as pd
import pytest
from omegaconf import OmegaConf

from ioi_lab.errors import LabError
from ioi_lab.jobs.job import Job, Outcome, PreparedJob, run_job
from ioi_lab.models.loading import ModelChecksums
from ioi_lab.reports.report import Report
from ioi_lab.runs.figure_files import FigureFiles
from ioi_lab.runs.provenance import environment
from ioi_lab.runs.reading import is_done, read_status
from ioi_lab.runs.resume import record_finished_runs
from ioi_lab.runs.tracking import TrackerConfig

PLACE = {"mode": "offline", "run": "some/folder"}


class FakeJob(Job):
    """Reports the `value` of its config."""

    COMMAND = "fake.py"
    figures = FigureFiles(formats=[])
    title, kind, tags = "a fake", "fake", ("a model", "a task")
    models: ClassVar = {}

    def __init__(self, config):
        self.value, self.tracker = config["value"], TrackerConfig.from_config(config["tracker"], "tracker")

    @classmethod
    def from_config(cls, config, given):
        if config["value"] < 0:
            raise LabError(f"value: got {config['value']}, expected 0 or more")
        return cls(config)

    def measure(self, folder):
        report = Report(
            table=pd.DataFrame({"layer": [self.value]}),
            metrics={"effect": float(self.value)},
            draw=dict,
            summary=["a line"],
            provenance={"source": "a source"},
            headline="effect",
        )
        return Outcome(report, {"model": "a model"})


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """The values that were measured."""
    values, plain = [], FakeJob.measure
    monkeypatch.setattr(FakeJob, "measure", lambda job, folder: values.append(job.value) or plain(job, folder))
    return values


@pytest.fixture(autouse=True)
def tracked(monkeypatch):
    """The runs that were sent to a tracker, which always works."""
    runs = []
    monkeypatch.setattr("ioi_lab.jobs.job.track", lambda run, tracker: runs.append(run) or PLACE)
    return runs


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def prepare(value=1, resume=True, tracker=None, **changes):
    config = {"value": value, "resume": resume, "tracker": tracker or {"name": "none"}} | changes
    return PreparedJob(OmegaConf.create(config), FakeJob)


def interrupt_with(monkeypatch, error):
    def measure(job, folder):
        raise error

    monkeypatch.setattr(FakeJob, "measure", measure)


def test_a_run_leaves_its_config_results_and_provenance(tmp_path, messages):
    folder = tmp_path / "0"
    prepared = prepare(3)
    assert run_job(prepared, folder) == {"effect": 3.0}
    assert read_status(folder)["status"] == "done"
    assert read_status(folder)["headline"] == "effect"
    assert "ioi-lab fake.py --config-dir" in (folder / "config.yaml").read_text()
    assert OmegaConf.load(folder / "config.yaml")["value"] == 3
    assert pd.read_csv(folder / "results.csv")["layer"].tolist() == [3]
    provenance = json.loads((folder / "provenance.json").read_text())
    assert (provenance["model"], provenance["source"]) == ("a model", "a source")
    assert provenance["identity"] == prepared.identity()
    assert set(environment()) < set(provenance)
    first, line, last = messages()
    assert (first, line) == ("a fake", "a line")
    assert last.startswith("results: ")
    assert last.endswith(folder.name)


def test_what_is_done_is_not_measured_again(tmp_path, measured, messages):
    assert run_job(prepare(), tmp_path / "0", tmp_path) == run_job(prepare(), tmp_path / "0", tmp_path)
    assert measured == [1]
    assert messages()[-1].endswith("0 is done already")


@pytest.mark.parametrize("resumes", [True, False])
def test_without_a_sweep_or_without_resuming_it_is_measured_again(tmp_path, measured, resumes):
    for _ in range(2):
        run_job(prepare(resume=resumes), tmp_path / "0", None if resumes else tmp_path)
    assert measured == [1, 1]


def test_another_identity_is_reported_and_measured_again(tmp_path, measured, messages):
    run_job(prepare(1), tmp_path / "0", tmp_path)
    assert run_job(prepare(2), tmp_path / "0", tmp_path) == {"effect": 2.0}
    assert measured == [1, 2]
    assert any(line.endswith("0: it was done with other config, so it is run again") for line in messages())


def test_damaged_files_are_reported_and_measured_again(tmp_path, measured, messages):
    run_job(prepare(), tmp_path / "0", tmp_path)
    (tmp_path / "0" / "results.csv").unlink()
    run_job(prepare(), tmp_path / "0", tmp_path)
    assert measured == [1, 1]
    assert any(
        line.endswith("0: its files are damaged (results.csv is missing), so it is run again") for line in messages()
    )


def test_an_earlier_run_with_the_same_identity_is_taken_over(tmp_path, measured, messages):
    earlier, sweep = tmp_path / "then", tmp_path / "now"
    run_job(prepare(), earlier / "7", earlier)
    sweep.mkdir()
    record_finished_runs(sweep)
    assert run_job(prepare(), sweep / "0", sweep) == {"effect": 1.0}
    assert run_job(prepare(2), sweep / "1", sweep) == {"effect": 2.0}
    assert measured == [1, 2]
    assert is_done(sweep / "0")
    assert json.loads((sweep / "0" / "provenance.json").read_text())["taken_from"] == str(earlier / "7")
    (line,) = (line for line in messages() if " is taken from " in line)
    assert line.split(" is taken from ")[1].endswith(str(Path("then") / "7"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("a\n  bug"), "a bug"),
        (ValueError(), "ValueError"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_failure_is_marked_and_raised_again(tmp_path, monkeypatch, tracked, error, line):
    interrupt_with(monkeypatch, error)
    with pytest.raises(type(error)):
        run_job(prepare(tracker={"name": "wandb"}), tmp_path / "0")
    status = read_status(tmp_path / "0")
    assert (status["status"], status["error"], status["type"]) == ("failed", line, type(error).__name__)
    assert (tmp_path / "0" / "config.yaml").is_file()
    assert not (tmp_path / "0" / "metrics.json").exists()
    (run,) = tracked
    assert (run.error, run.metrics, run.tags[-1]) == (line, {}, "interrupted" if line == "interrupted" else "failed")
    assert not (tmp_path / "0" / "wandb.json").exists()  # the result is still to be tracked


def test_a_failed_run_is_tried_again(tmp_path, monkeypatch, measured):
    with monkeypatch.context() as patch:
        interrupt_with(patch, RuntimeError("a bug"))
        with pytest.raises(RuntimeError):
            run_job(prepare(), tmp_path / "0", tmp_path)
    run_job(prepare(), tmp_path / "0", tmp_path)
    assert measured == [1]
    assert is_done(tmp_path / "0")
    assert "error" not in read_status(tmp_path / "0")


def test_a_wrong_config_is_a_failure_before_the_work(tmp_path, measured):
    with pytest.raises(LabError, match=r"^value: got -1, expected 0 or more$"):
        run_job(prepare(-1), tmp_path / "0", tmp_path)
    assert read_status(tmp_path / "0")["error"] == "value: got -1, expected 0 or more"
    with pytest.raises(LabError, match=r"^value: got -1, expected 0 or more$"):
        run_job(prepare(-1), tmp_path / "single")
    assert not (tmp_path / "single").exists()
    assert measured == []


def test_a_config_that_does_not_resolve_leaves_a_finished_run_as_it_is(tmp_path):
    run_job(prepare(), tmp_path / "0")
    before = (tmp_path / "0" / "status.json").read_bytes()
    with pytest.raises(LabError, match="value: this key has no value yet"):
        run_job(prepare("???"), tmp_path / "0")
    assert (tmp_path / "0" / "status.json").read_bytes() == before
    with pytest.raises(LabError, match="value: this key has no value yet"):
        run_job(prepare("???"), tmp_path / "1", tmp_path)
    assert read_status(tmp_path / "1")["status"] == "failed"


def test_results_of_files_that_were_changed_meanwhile_are_refused(tmp_path, monkeypatch):
    text, plain = tmp_path / "text.txt", FakeJob.measure
    text.write_text("before")

    def measure(job, folder):
        text.write_text("after")
        return plain(job, folder)

    monkeypatch.setattr(FakeJob, "measure", measure)
    with pytest.raises(LabError, match=r"^the files of this run were changed while it was measured; run it again$"):
        run_job(prepare(intervention={"text": str(text)}), tmp_path / "0")
    assert read_status(tmp_path / "0")["status"] == "failed"
    assert not (tmp_path / "0" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("runs", "in_sweep", "group"),
    [("job", False, [None]), ("job", True, ["patch now"]), ("sweep", False, [None]), ("sweep", True, [])],
)
def test_which_runs_are_tracked(tmp_path, tracked, runs, in_sweep, group):
    sweep = tmp_path / "patch" / "now"
    prepared = prepare(tracker={"name": "wandb", "runs": runs})
    run_job(prepared, sweep / "0", sweep if in_sweep else None)
    assert [run.group for run in tracked] == group
    for run in tracked:
        assert (run.folder, run.title, run.job_type) == (sweep / "0", "a fake", "fake")
        assert (run.tags, run.metrics, run.headline) == (FakeJob.tags, {"effect": 1.0}, "effect")
        provenance = run.config["provenance"]
        assert run.config == {**prepared.resolved, "provenance": provenance}
        assert (provenance["model"], provenance["seconds"] >= 0) == ("a model", True)
        assert run.tables["results"]["layer"].tolist() == [1]
        assert json.loads((sweep / "0" / "wandb.json").read_text()) == PLACE


def test_without_a_tracker_nothing_is_tracked(tmp_path, tracked):
    run_job(prepare(), tmp_path / "0")
    assert tracked == []


def test_a_run_is_tracked_until_the_tracker_has_it_and_then_no_more(tmp_path, monkeypatch, tracked, measured):
    with monkeypatch.context() as patch:
        patch.setattr("ioi_lab.jobs.job.track", lambda run, tracker: None)
        run_job(prepare(tracker={"name": "wandb"}), tmp_path / "0", tmp_path)
    for _ in range(2):
        run_job(prepare(tracker={"name": "wandb"}), tmp_path / "0", tmp_path)
    assert len(tracked) == 1
    assert measured == [1]


def test_weights_are_part_of_the_identity_and_errors_name_the_models_key(monkeypatch):
    monkeypatch.setattr("ioi_lab.jobs.job.checksums_of", lambda model: ModelChecksums(model.checksum, "files"))
    monkeypatch.setattr(
        FakeJob, "models", {"model": SimpleNamespace(checksum="a"), "source": SimpleNamespace(checksum="b")}
    )
    assert prepare().identity()["weights"] == "a b"
    assert prepare().identity()["model_files"] == "files files"

    def missing(model):
        if model.checksum == "b":
            raise LabError("model.path: 'x' is not a folder")
        return ModelChecksums("a", "files")

    monkeypatch.setattr("ioi_lab.jobs.job.checksums_of", missing)
    with pytest.raises(LabError, match=r"^source\.path: 'x' is not a folder$"):
        prepare().identity()
