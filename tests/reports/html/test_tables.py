"""Tables as readers want them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ioi_lab.reports.html.page import PageTable
from ioi_lab.reports.html.tables import MAX_ROWS, cell, shown


def test_values_and_bounds_share_a_column_and_constants_are_in_a_sentence():
    data = pd.DataFrame(
        {
            "component": ["z", "z"],
            "head": pd.array([1, None], dtype="Int64"),
            "scale": [np.nan, np.nan],
            "effect": [0.12345, -2.0],
            "effect_low": [0.1, np.nan],
            "effect_high": [0.2, np.nan],
        }
    )
    table = shown(PageTable("results", data))
    assert [(column.name, column.is_number) for column in table.columns] == [("head", True), ("effect", True)]
    assert table.rows == [["1", "0.123 [0.1, 0.2]"], ["", "−2"]]
    assert table.notes == ["In all rows: component = z.", "Brackets are 95 % intervals."]


def test_a_long_table_is_cut_and_names_its_file():
    table = shown(PageTable("edges", pd.DataFrame({"edge": range(MAX_ROWS + 1)}), file="edges.csv"))
    assert len(table.rows) == MAX_ROWS
    assert table.notes == [f"The first {MAX_ROWS} of {MAX_ROWS + 1} rows; edges.csv in the run folder has all of them."]


def test_tables_without_rows_and_with_one_row():
    assert shown(PageTable("none", pd.DataFrame({"a": []}))).rows == []
    assert shown(PageTable("one", pd.DataFrame({"a": ["x"]}))).rows == [["x"]]


def test_missing_cells_are_empty():
    assert [cell(value) for value in (None, np.nan, pd.NA, True, 3, 0.5, 1e-7, "a")] == [
        "", "", "", "True", "3", "0.5", "1e−07", "a",
    ]  # fmt: skip
