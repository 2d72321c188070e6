from __future__ import annotations

import gzip

import pyarrow
import pytest
from pyarrow import parquet

from ioi_lab.errors import LabError
from ioi_lab.tasks import tables
from ioi_lab.tasks.tables import plain_name, read_table

KNOWN = {"clean", "answer"}


@pytest.fixture
def read(tmp_path):
    def write_and_read(content):
        path = tmp_path / "table"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, "k", KNOWN)

    return write_and_read


def values(table):
    return [[value for _, value in row] for row in table.rows.values()]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_that_of_the_header(read, separator):
    text = f"clean{separator}answer\na; b, c|d\te, {separator} Mary\n".replace(
        f"a; b, c|d\te, {separator}", f'"a; b, c|d\te, "{separator}'
    )
    assert values(read(text)) == [["a; b, c|d\te, ", " Mary"]]
    assert values(read(f"sep={separator}\n{text}")) == [["a; b, c|d\te, ", " Mary"]]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('clean, answer\n"a, b", "c"\n', ["a, b", "c"]),  # a blank in front of a quote separates
        ("clean, answer\na,  Mary\n", ["a", "  Mary"]),  # any other is part of the cell
        ('clean,answer\n"a, ""b"" , c",  d "e"\n', ['a, "b" , c', '  d "e"']),
        ('clean,answer\n"a\n  b\r\nc",d\n', ["a\n  b\r\nc", "d"]),
        ("clean,answer\r a, b\r", [" a", " b"]),
        ("\n\nclean,answer,,\na,b,,\n,,\n\n", ["a", "b"]),  # as spreadsheets leave them
        (",clean,answer\n0,a,b\n", ["0", "a", "b"]),  # as pandas writes its index
    ],
)
def test_cells_are_read_as_they_are(read, text, cells):
    assert values(read(text)) == [cells]


def test_a_cell_to_the_right_of_the_header_has_no_name(read):
    assert read("clean,answer\na,b,c\n").rows == {"row 2": [("clean", "a"), ("answer", "b"), (None, "c")]}


def test_rows_are_numbered_as_a_spreadsheet_shows_them(read):
    assert list(read('clean,answer\n\n"a\nb",c\n,\nd,e\n').rows) == ["row 3", "row 5"]
    assert list(read('\n{"clean": "a"}\n\n{"clean": "b"}\n').rows) == ["line 2", "line 4"]
    assert list(read('[{"clean": "a"}, {"clean": "b"}]').rows) == ["item 1", "item 2"]


def test_json_keeps_a_key_that_is_there_twice_and_every_line_separator_in_a_text(read):
    line = '{"clean": "a\u2028b\u0085c", "clean": "d"}'
    for text in (f"{line}\n{line}", f"[{line},\n{line}]"):
        table = read(text)
        assert list(table.rows.values()) == 2 * [[("clean", "a\u2028b\u0085c"), ("clean", "d")]]
        assert table.names == ["clean"]


def test_parquet_keeps_a_column_that_is_there_twice(tmp_path):
    arrays = [pyarrow.array(["a", None]), pyarrow.array(["b", "c"])]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names=["clean", "clean"]), tmp_path / "table.csv")
    table = read_table(tmp_path / "table.csv", "k", KNOWN)
    assert table.rows == {"row 1": [("clean", "a"), ("clean", "b")], "row 2": [("clean", None), ("clean", "c")]}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('clean,answer\na,b\nc,"d\ne,f\n', "as a table: a quote is opened in row 3 and never closed"),
        ("clean,answer\n" + "x" * 200_000 + ",b\n", "field larger than field limit"),
        (b"PK\x03\x04xl/workbook.xml", "is a spreadsheet or an archive; save the table as “CSV UTF-8”"),
        (gzip.compress(b"clean,answer", mtime=0), "is compressed; unpack it"),
        (b"PAR1 and nothing else", "as a table: "),
        ('{"clean": ', "as a table: "),
        ('{"clean": "a"}\n["b"]\n', "line 2 is not an object with a key for each column"),
        ("[1, 2]", "item 1 is not an object"),
        ("[" * 100_000, "as a table: "),
        ("clean,answer\na\0,b\n", "has NUL characters"),
    ],
)
def test_what_is_not_a_table_is_refused_in_one_line(read, content, line):
    with pytest.raises(LabError, match=line) as error:
        read(content)
    assert str(error.value).startswith("k: ")
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


def test_a_file_has_a_largest_size_also_after_decompression(read, tmp_path, monkeypatch):
    parquet.write_table(pyarrow.table({"clean": ["a" * 100 + str(n) for n in range(1000)]}), tmp_path / "small")
    monkeypatch.setattr(tables, "MAX_SIZE", (tmp_path / "small").stat().st_size + 1)
    with pytest.raises(LabError, match=r"more than .* bytes after decompression"):
        read_table(tmp_path / "small", "k", KNOWN)
    with pytest.raises(LabError, match=r"^k: '.*' has 0.2 MB; expected "):
        read("clean,answer" + "\n" * 200_000)


def test_an_empty_file_is_an_empty_table(read):
    assert read("").names == read("\n ,\n").names == ()


def test_names_are_compared_without_case_blanks_and_marks():
    assert [plain_name(name) for name in ("\ufeffClean", " Clean  Prompt ", "clean-prompt")] == [
        "clean",
        "clean_prompt",
        "clean_prompt",
    ]
