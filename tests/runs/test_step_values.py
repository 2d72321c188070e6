"""The numbers of the steps of studies, from folders that studies have left."""

from __future__ import annotations

import math

from ioi_lab.runs.reading import read_run
from ioi_lab.runs.step_values import step_values, table_of_steps
from tests.runs.studied import STEPS


def test_numbers_are_changes_from_the_unedited_run_of_the_same_step(leave_study):
    study = leave_study("compare/now/0", {"model.name": "a"}, STEPS)
    values = {value.step: value for value in step_values([("a", read_run(study))])}
    assert list(values) == ["baseline", "lens", "knockout", "steering"]
    assert values["baseline"].change == (0.75, 0.5, 0.9)
    assert values["knockout"].change == (-0.75, -0.875, -0.5)
    assert values["knockout"].unedited.run == "the unedited clean run"
    assert values["steering"].change[0] == -7.0
    assert math.isnan(values["steering"].low)
    assert [value.n_sites for value in values.values()] == [0, 0, 16, 4]
    assert [value.is_of_unedited_model for value in values.values()] == [False, True, False, False]


def test_a_step_that_is_not_done_has_its_state_and_the_others_of_a_failed_study_count(leave_study):
    steps = STEPS | {"knockout": "failed", "steering": "skipped"}
    study = leave_study("compare/now/0", {"model.name": "a"}, steps, status="failed")
    values = {value.step: value for value in step_values([("a", read_run(study))])}
    assert [values[step].state for step in ("baseline", "knockout", "steering")] == ["done", "failed", "skipped"]
    assert math.isnan(values["knockout"].value)
    assert values["baseline"].value == 0.75


def test_runs_that_are_no_studies_have_no_steps(leave):
    assert step_values([("a", read_run(leave("patch/now/0", {}, best_recovery=0.5)))]) == []


def test_a_folder_that_leads_out_of_the_study_is_not_read(leave, leave_study):
    outside = leave("outside", {"intervention": {"name": "steer"}}, best_logit_diff=1.0, clean_logit_diff=5.0)
    study = leave_study("compare/now/0", {"model.name": "a"}, STEPS)
    (study / "05-linked").symlink_to(outside)
    table = (study / "results.csv").read_text()
    for other in ("../../../outside", "05-linked", "", ".."):
        (study / "results.csv").write_text(table.replace("04-steering", other))
        value = step_values([("a", read_run(study))])[-1]
        assert (value.value, value.unedited) == (-2.0, None)


def test_the_table_has_a_row_per_step_and_study(leave_study):
    studies = [
        (name, read_run(leave_study(f"compare/now/{name}", {"model.name": name}, STEPS | more)))
        for name, more in (("a", {}), ("b", {"steering": "skipped"}))
    ]
    table = table_of_steps(step_values(studies))
    assert table["step"].tolist() == [step for step in STEPS for _ in studies]
    assert table["study"].tolist() == ["a", "b"] * len(STEPS)
    assert table["state"].tolist() == ["done"] * 7 + ["skipped"]
    row = table.set_index(["step", "study"]).loc[("knockout", "a")]
    assert row[["metric", "value", "value_low", "value_high", "unedited", "best_of_sites"]].tolist() == [
        "best_recovery", 0.25, 0.125, 0.5, 1.0, 16
    ]  # fmt: skip
