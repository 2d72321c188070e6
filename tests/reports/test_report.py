from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ioi_lab.reports.report import SELECTORS, ReportContext, precision_lines, scalars, tidy_columns, tidy_table
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.storage.tables import csv_bytes

RECOVERY = Estimate(np.array([0.5, 1.0]), np.array([0.25, np.nan]), np.array([0.75, np.nan]))


def test_a_tidy_table_has_the_selectors_first_and_each_estimate_with_its_bounds():
    rows = [{"component": "z", "layer": 9, "head": 6, "roles": "name mover"}, {"component": "mlp_out", "layer": 3}]
    table = tidy_table(rows, {"recovery": RECOVERY})
    assert list(table) == [*SELECTORS, "roles", "recovery", "recovery_low", "recovery_high"]
    assert table["layer"].tolist() == [9, 3]
    assert table["head"].tolist() == [6, pd.NA]
    assert table["roles"][0] == "name mover"
    assert table["roles"].isna().tolist() == [False, True]
    assert table["scale"].isna().all()
    assert table["recovery"].tolist() == [0.5, 1.0]
    assert table["recovery_low"].tolist() == [0.25, pytest.approx(np.nan, nan_ok=True)]


def test_indices_stay_whole_numbers_in_a_file():
    table = tidy_table([{"layer": 9, "head": None}, {"layer": 3, "head": 1}], {"recovery": RECOVERY})
    lines = table.to_csv(index=False).splitlines()
    assert lines[1].startswith(",9,,,,0.5,")
    assert lines[2].startswith(",3,1,,,1.0,")


def test_a_table_without_rows_has_its_columns():
    empty = Estimate(*(np.array([]) for _ in range(3)))
    assert list(tidy_table([], {"recovery": empty})) == [*SELECTORS, "recovery", "recovery_low", "recovery_high"]


def test_tidy_columns_are_those_of_the_table():
    rows = [{"layer": 9, "head": None, "scale": 0.5}, {"layer": 3, "head": 1, "scale": -1.0}]
    columns, table = tidy_columns(rows, {"recovery": RECOVERY}), tidy_table(rows, {"recovery": RECOVERY})
    assert list(columns) == list(table)
    assert csv_bytes(columns) == csv_bytes(table)


def test_scalars_leave_out_what_is_unknown():
    assert scalars("recovery", RECOVERY) == {"recovery": 0.5, "recovery_low": 0.25, "recovery_high": 0.75}
    assert scalars("recovery", RECOVERY, 1) == {"recovery": 1.0}
    assert {type(value) for value in scalars("recovery", RECOVERY).values()} == {float}
    assert scalars("recovery", Estimate(*(np.array([np.nan]) for _ in range(3)))) == {}


def test_titles_name_the_model_the_task_and_the_number_of_prompts():
    context = ReportContext("tiny-gpt2", "ioi")
    assert context.data_title(1) == "tiny-gpt2, ioi, 1 prompt"
    assert context.data_title(32) == "tiny-gpt2, ioi, 32 prompts"
    assert context.precision_note == ""


def test_models_in_low_precision_are_named_by_titles_and_summaries():
    context = ReportContext("a", "ioi", ["a (bfloat16)", "b (Q4_1 weights)"])
    assert context.precision_note == "; a (bfloat16), b (Q4_1 weights)"
    assert precision_lines(context.low_precision) == ["low precision: a (bfloat16), b (Q4_1 weights)"]
    assert precision_lines([]) == []
