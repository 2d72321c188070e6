"""Steps are run in their order; one that fails or has nothing to do does not stop the others."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from ioi_lab.models.loading import ModelConfig
from ioi_lab.runs.reading import read_run
from ioi_lab.studies import running
from ioi_lab.studies.findings import Findings
from ioi_lab.studies.running import answer_of, folder_of, given_to, line_of, run_steps
from ioi_lab.studies.steps import STEPS
from tests.studies.conftest import SMALL, config_of

BY_NAME = {step.name: step for step in STEPS}


def run(tmp_path, names, *overrides):
    small = SMALL if "task=pairs" not in overrides else [word for word in SMALL if not word.startswith("task.")]
    config = config_of(*small, *overrides)
    findings = Findings(["BOS", "IO", "S1", "S2", "END"], is_ioi=True, max_heads=2, max_layers=2)
    return {
        record.step.name: record
        for record in run_steps([BY_NAME[name] for name in names], config, findings, tmp_path, {})
    }


def test_a_step_that_fails_leaves_the_others(tmp_path):
    records = run(tmp_path, ["baseline", "heads", "attention", "attribution"], "steps.heads.intervention.layer=99")
    assert {name: record.state for name, record in records.items()} == {
        "baseline": "done", "heads": "failed", "attention": "skipped", "attribution": "done",
    }  # fmt: skip
    assert records["heads"].reason.startswith("steps.heads.intervention.layer: got 99")
    assert records["attention"].reason == "it takes its heads from the step heads, which is not done"
    assert read_run(records["heads"].folder).state == "failed"
    assert line_of(records["attention"]).startswith("skipped: ")


def test_a_model_that_does_not_do_the_task_ends_the_study(small_study, tmp_path):
    prompts = pd.read_csv(small_study / "prompts.csv")[["clean", "corrupt", "answer", "distractor"]]
    reversed_answers = prompts.rename(columns={"answer": "distractor", "distractor": "answer"})
    reversed_answers.to_csv(tmp_path / "own.csv", index=False)
    records = run(tmp_path, ["baseline", "heads"], "task=pairs", f"task.path={tmp_path / 'own.csv'}")
    assert records["baseline"].state == "done"
    assert records["heads"].state == "skipped"
    assert "the model is not shown to do the task" in records["heads"].reason


def test_a_finished_step_is_not_run_again(small_study, monkeypatch):
    folder = folder_of(small_study, 2, BY_NAME["heads"])
    before = (folder / "status.json").stat().st_mtime_ns
    monkeypatch.setattr("ioi_lab.jobs.experiment.Experiment.measure", None)
    config = json.loads(json.dumps(config_of(*SMALL)))
    findings = Findings(["IO"], is_ioi=True, max_heads=5, max_layers=2)
    (record,) = run_steps([BY_NAME["baseline"]], config, findings, small_study, {})
    assert record.state == "done"
    assert (folder / "status.json").stat().st_mtime_ns == before


def test_the_answer_of_a_step_is_the_start_of_its_report(small_study):
    assert answer_of(folder_of(small_study, 1, BY_NAME["baseline"])).startswith("The model does the task:")


def test_loaded_models_get_the_names_of_the_job():
    model = ModelConfig(
        name="m", source="tiny", path="tiny-gpt2", revision=None, device="cpu", dtype="float32", prepend_bos=True
    )
    given = {"model": model, "source": model}
    assert set(given_to(BY_NAME["align"], given)) == {"source", "target"}
    assert set(given_to(BY_NAME["heads"], given)) == {"model"}


def test_an_interruption_ends_the_study(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ["baseline"])
