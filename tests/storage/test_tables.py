"""Tables for spreadsheets: nothing in them is a formula, and the lab reads back what was written."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from ioi_lab.storage.tables import csv_bytes, read_table

FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0",
    "+1+cmd", "-2+3", "-", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("a","b")',
    "=1,2", "-x", "+", "--1", "=", "-1e", "+-1", "-0x1",
]  # fmt: skip
HARMLESS = [" =1", "Mary", " Mary", "'tis", "'", "''", "a=b", "1-2", "S1+1", "", "·-", "-1", "+2.5", "-1e-5", "-inf"]
EXCEL_EVALUATES = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cells(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_evaluate_is_escaped_and_read_back(text, tmp_path):
    table = pd.DataFrame({"token": ["x", text], text: [1, 2]})
    content = csv_bytes(table)
    assert cells(content) == [["token", f"'{text}"], ["x", "1"], [f"'{text}", "2"]]
    (tmp_path / "a.csv").write_bytes(content)
    for as_text in (False, True):
        read = read_table(tmp_path / "a.csv", as_text=as_text)
        assert list(read.columns) == list(table.columns)
        assert list(read["token"]) == list(table["token"])


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_are_written_as_they_are(text):
    assert cells(csv_bytes(pd.DataFrame({"a": [text, "x"]})))[1] == [text]


def test_numbers_and_missing_values_stay(tmp_path):
    table = pd.DataFrame(
        {"i": [-1, 2], "f": [-1e-300, np.nan], "b": [True, False], "mixed": [-1.5, "=x"], "none": [None, "-y"]}
    )
    content = csv_bytes(table)
    assert cells(content)[1:] == [["-1", "-1e-300", "True", "-1.5", ""], ["2", "", "False", "'=x", "'-y"]]
    (tmp_path / "a.csv").write_bytes(content)
    read = read_table(tmp_path / "a.csv")
    assert_frame_equal(read[["i", "f", "b"]], table[["i", "f", "b"]])
    assert list(read["mixed"]) == ["-1.5", "=x"]
    assert table["mixed"][1] == "=x"  # the table itself stays


def test_columns_by_name_are_written_like_a_table_of_them():
    columns = {
        "=name": ["=x", None, "y"],
        "i": [1, 2, 3],
        "f": np.array([0.1, np.nan, -np.inf]),
        "b": [True, False, True],
    }
    assert csv_bytes(columns) == csv_bytes(pd.DataFrame(columns))
    returns = {"text": ["a\rb", "=c"], "n": [1, 2]}
    assert csv_bytes(returns) == csv_bytes(pd.DataFrame(returns))


def test_whole_numbers_among_missing_values_stay_whole():
    table = pd.DataFrame({"layer": pd.array([1, None], dtype="Int64")})
    assert csv_bytes(table) == csv_bytes({"layer": [1, None]}) == b'layer\n1\n""\n'


@pytest.mark.parametrize("dtype", ["float32", "category", "datetime64[ns]", "boolean", "Float64"])
def test_columns_of_other_types_are_written_as_pandas_writes_them(dtype):
    values = ["2024-01-01", None] if "date" in dtype else [True, None] if dtype == "boolean" else [0.1, None]
    table = pd.DataFrame({"x": pd.Series(values).astype(dtype), "n": [1, 2]})
    assert csv_bytes(table) == table.to_csv(index=False).encode()


TEXTS = st.text(st.sampled_from("=+-@\t\r\n'\" ,;ax1.é＝"), max_size=6) | st.text(max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3))
@example(["''=1", "'", "'='"])
def test_no_cell_is_a_formula_and_every_text_comes_back(tmp_path_factory, texts):
    texts = [text.replace("\x00", "") for text in texts]
    content = csv_bytes(pd.DataFrame({"text": texts, "n": range(len(texts))}))
    for written, text in zip((row[0] for row in cells(content)[1:]), texts, strict=True):
        is_number = text.isascii() and pd.notna(pd.to_numeric(text, errors="coerce"))
        assert is_number or not written.startswith(EXCEL_EVALUATES)
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    path.write_bytes(content)
    assert list(read_table(path, as_text=True)["text"]) == texts
