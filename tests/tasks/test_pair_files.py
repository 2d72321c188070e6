from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ioi_lab.errors import LabError
from ioi_lab.tasks.pair_files import COLUMNS, PairRow, read_pairs

CLEAN, CORRUPT = "When John and Mary met, John left", "When John and Mary met, Mary left"
ROW = (CLEAN, CORRUPT, " Mary", " John")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
LINE_ENDS = ("\n", "\r\n")


def as_csv(rows, separator=",", line_end="\n", names=COLUMNS) -> str:
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if line_end == "\n" else csv.QUOTE_MINIMAL  # which leaves "\r" bare if lines end with "\n"
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=quoting)
    writer.writerows([names, *rows])
    return text.getvalue()


def objects(rows) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def written(rows, folder: Path) -> list[Path]:
    """Return files with the rows in every format, separator, line end and encoding."""
    texts = {
        **{
            f"{name}{number}.csv": as_csv(rows, separator, line_end)
            for name, separator in SEPARATORS.items()
            for number, line_end in enumerate(LINE_ENDS)
        },
        "quoted.csv": "\n".join(
            ", ".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [COLUMNS, *rows]
        ),
        "rows.jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in objects(rows)),
        "rows.json": json.dumps(objects(rows), indent=1),
    }
    paths = []
    for name, text in texts.items():
        for encoding in ENCODINGS:
            paths.append(folder / f"{encoding} {name}")
            paths[-1].write_bytes(text.encode(encoding))
    paths.append(folder / "rows.parquet")
    pd.DataFrame(objects(rows)).to_parquet(paths[-1])
    return paths


# A blank cell is no text, and NUL and half a surrogate pair are in no text file.
cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip)


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # an example writes 41 files, so a failing one is not made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(*4 * [cells]), min_size=1, max_size=4))
def test_rows_are_the_same_in_every_format_separator_and_encoding(tmp_path, rows):
    for path in written(rows, tmp_path):
        read = [(row.clean, row.corrupt, row.answer, row.distractor) for row in read_pairs(path, "task.path").rows]
        assert read == rows, path.name


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        path = tmp_path / "mine.csv"
        path.write_text(text)
        return read_pairs(path, "task.path")

    return write_and_read


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (("Clean", "CORRUPT", " Answer ", "Distractor"), None),
        (("clean", " corrupted", " answer", " distractor"), None),
        (("Clean prompt", "corrupted-prompt", "answer", "distractor"), None),
        (("prompt", "corrupt", "answer", "distractor"), None),
        (("clean", "corrupt", "anwser", "distractor"), "the column 'anwser' is read as 'answer'"),
        (("clean", "corrupts", "answer", "distracter"), "the column 'corrupts' is read as 'corrupt'"),
        (("clean", "corrupt", "answers", "distractors"), "the column 'answers' is read as 'answer'"),
    ],
)
def test_names_of_columns_may_be_written_in_other_ways(read, names, note):
    file = read(as_csv([ROW], names=names))
    assert file.rows == [PairRow("row 2", *ROW)]
    assert file.notes[:1] == (() if note is None else (note,))


def test_a_column_by_its_own_name_goes_before_another_name(read):
    for extra in ("prompt", "corrupted", "answers"):
        assert read(as_csv([("other", *ROW)], names=(extra, *COLUMNS))) == read(as_csv([ROW]))


def test_a_column_that_is_there_twice_is_reported_if_its_texts_differ(read):
    names = (*COLUMNS, "Answer")
    assert read(as_csv([(*ROW, " Mary")], names=names)).notes == ()
    file = read(as_csv([(*ROW, " John"), (*ROW, " Mary")], names=names))
    assert [row.answer for row in file.rows] == [" Mary", " Mary"]
    assert file.notes == (
        "mine.csv has the column 'answer' more than once, with different values in 1 of 2 rows; the tokens are those "
        "of the first",
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("clean,corrupt,answer\na,b,c\n", "lacks the column 'distractor'; found clean, corrupt, answer; needs clean,"),
        ("clean,corrupt,answer1,answer2,distractor\na,b,c,d,e\n", "lacks the column 'answer'"),
        ("", "lacks the column 'clean'; found none"),
        ("\x1b[2Jclean\nx\n", r"found \\x1b\[2Jclean; needs"),
        (",".join(COLUMNS), "has no prompts below its header"),
        ('{"clean": "a", "corrupt": null, "answer": "c", "distractor": "d"}', "item 1: the column 'corrupt' is empty"),
        (
            '{"clean": "a", "corrupt": "b", "answer": 5, "distractor": "d"}',
            "item 1: the column 'answer' is 5, expected a text or a list of texts",
        ),
        (
            '{"clean": "a", "corrupt": ["b"], "answer": "c", "distractor": "d"}',
            r"item 1: the column 'corrupt' is \['b'\], expected a text$",
        ),
        ('{"clean": "a", "corrupt": "b", "answer": [], "distractor": "d"}', "item 1: the column 'answer' is empty"),
        (
            '{"clean": "a", "corrupt": "b", "answer": [" x", 3], "distractor": "d"}',
            r"item 1: the column 'answer' is \[' x', 3\], expected a text or a list of texts",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(read, text, line):
    with pytest.raises(LabError, match=line):
        read(text)


def test_lists_of_texts_in_json_and_parquet_are_sets(tmp_path):
    row = {"clean": CLEAN, "corrupt": CORRUPT, "answer": [" Mary", " Anna"], "distractor": [" John"]}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    pd.DataFrame([row]).to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.json", "rows.parquet"):
        (read,) = read_pairs(tmp_path / name, "task.path").rows
        assert (read.answer, read.distractor) == ('[" Mary", " Anna"]', " John")


def test_of_many_bad_rows_the_first_ten_are_listed(read):
    rows = [ROW if number % 2 else (CLEAN, "", " Mary", " John") for number in range(24)]
    with pytest.raises(LabError) as error:
        read(as_csv(rows))
    expected = "; ".join(f"row {number}: the column 'corrupt' is empty" for number in range(2, 22, 2))
    assert str(error.value).endswith(f"mine.csv: 12 of 24 rows cannot be used: {expected}; and 2 more")


def test_groups_may_be_numbers(read):
    rows = [dict(zip((*COLUMNS, "Group"), (*ROW, group), strict=True)) for group in (1, "b", None)]
    assert [row.group for row in read(json.dumps(rows)).rows] == ["1", "b", None]
