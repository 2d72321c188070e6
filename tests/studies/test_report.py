"""The report of a study says what each step found, what failed, and what it does not show."""

from __future__ import annotations

import json

import pandas as pd

from ioi_lab.reports.report import ReportContext
from ioi_lab.studies.report import StudyReport
from ioi_lab.studies.running import StepRecord, folder_of
from ioi_lab.studies.steps import STEPS, Choice

BY_NAME = {step.name: step for step in STEPS}
CONTEXT = ReportContext("tiny-gpt2", "ioi")


def records_of(small_study, *extra: StepRecord) -> list[StepRecord]:
    done = [
        StepRecord(BY_NAME[path.name.partition("-")[2]], path, "done")
        for path in sorted(small_study.iterdir())
        if path.is_dir()
    ]
    return [*done, *extra]


def test_the_table_has_a_row_per_step_with_its_headline_metric(small_study):
    table = pd.read_csv(small_study / "results.csv")
    heads = table[table.step == "heads"].iloc[0]
    metrics = json.loads((small_study / "02-heads" / "metrics.json").read_text())
    assert heads["metric"] == "best_recovery"
    assert heads["value"] == metrics["best_recovery"]
    assert table.loc[table.step == "attention", "chosen"].iloc[0].startswith("heads = ")
    own = json.loads((small_study / "metrics.json").read_text())
    assert own["heads_best_recovery_low"] == metrics["best_recovery_low"]
    assert own["does_task"] == 1
    assert own["n_done"] == len(table)


def test_a_hole_is_named_in_summary_and_limits(small_study, findings):
    failed = StepRecord(BY_NAME["lens"], folder_of(small_study, 8, BY_NAME["lens"]), "failed", "no memory")
    skipped = StepRecord(BY_NAME["circuit"], small_study / "none", "skipped", "nothing to do")
    report = StudyReport(CONTEXT, records_of(small_study, failed, skipped), findings, draws_prompts=True).report()
    assert "The step lens failed: No memory." in report.summary
    assert "The step circuit was skipped: Nothing to do." in report.limits
    assert "08-lens" in report.parts
    assert "none" not in report.parts
    assert report.metrics["n_failed"] == 1


def test_limits_say_whether_there_were_other_prompts(small_study, findings):
    def limits(draws_prompts):
        report = StudyReport(CONTEXT, records_of(small_study), findings, draws_prompts=draws_prompts).report()
        return " ".join(report.limits)

    assert "on prompts of the next seed" in limits(True)
    assert "The task has no other prompts" in limits(False)


def test_the_question_and_the_answers_are_sentences(small_study, findings):
    report = StudyReport(CONTEXT, records_of(small_study), findings, draws_prompts=True).report()
    assert report.question == "How does tiny-gpt2 do the task ioi?"
    assert all(sentence.endswith((".", ":", "?")) for sentence in report.answer)
    assert report.answer[0].startswith("Does the model do the task at all? The model does the task")


def test_choices_are_in_the_table(small_study, findings):
    record = StepRecord(
        BY_NAME["attention"],
        small_study / "03-attention",
        "done",
        choices={"heads": Choice(["2.0", "0.0"], "a reason")},
    )
    table = StudyReport(CONTEXT, [record], findings, draws_prompts=True).report().table
    assert table["chosen"].tolist() == ["heads = 2.0 0.0 (a reason)"]
