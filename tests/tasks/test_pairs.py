from __future__ import annotations

import os

import pandas as pd
import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.storage.tables import csv_bytes
from ioi_lab.tasks.pair_files import PairRow, read_pairs
from ioi_lab.tasks.pairs import PairsTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder

HEADER = "clean,corrupt,answer,distractor\n"
GOOD = '"When John and Mary met, John gave it to","When John and Mary met, Mary gave it to", Mary, John\n'


@pytest.fixture(scope="module")
def tokens():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


@pytest.fixture
def prompts(tmp_path, tokens):
    def read(content):
        path = tmp_path / "pairs.csv"
        path.write_text(content)
        task = PairsTask.from_config({"name": "pairs", "path": str(path)}, "task")
        task.check()
        return task.prompt_pairs(tokens)

    return read


def test_rows_of_several_lengths(prompts):
    pairs = prompts(HEADER + GOOD + "Then John met,Then Mary met, Mary, John\n")
    assert len(pairs) == 2
    assert len(pairs.buckets()) == 2
    assert (pairs[0].answer, pairs[0].distractor) == (" Mary", " John")
    assert pairs.labels() == ["BOS", "END"]


def test_repeated_rows_count_once(prompts):
    pairs = prompts(HEADER + GOOD + "Then John met,Then Mary met, Mary, John\n" + GOOD + GOOD)
    assert [pair.clean for pair in pairs] == ["When John and Mary met, John gave it to", "Then John met"]
    assert pairs.notes == ("2 of 4 rows repeat earlier ones and are counted once",)
    assert prompts(HEADER + GOOD + GOOD).notes == ("1 of 2 rows repeats an earlier one and is counted once",)
    assert prompts(HEADER + GOOD).notes == ()


def test_a_column_marks_groups(prompts):
    header, row = HEADER.strip() + ",group\n", "Then {0} met,Then Mary met, Mary, John,{1}\n"
    pairs = prompts(header + row.format("John", "a") + row.format("Luke", "b") + row.format("Anna", "a"))
    assert pairs.groups() == [0, 1, 0]
    assert prompts(header + row.format("John", "a") + row.format("Luke", "")).groups() is None
    assert prompts(HEADER + GOOD).groups() is None


def test_several_answers_are_a_json_list(prompts, tokens):
    row = 'Then John met,Then Mary met,"["" Mary"", "" Anna""]", John\n'
    (pair,) = prompts(HEADER + row)
    assert pair.answers == (" Mary", " Anna")
    assert pair.answer_ids == (tokens.single(" Mary"), tokens.single(" Anna"))
    assert (pair.distractor, pair.distractor_id) == (" John", tokens.single(" John"))
    listed = {
        "prompt": "Then John met",
        "corrupt": "Then Mary met",
        "answer": [" Mary", " Anna"],
        "distractor": " John",
    }
    for answer in (listed["answer"], pair.answer):
        task = PairsTask.from_config({"name": "pairs", "path": None} | listed | {"answer": answer}, "task")
        assert list(task.prompt_pairs(tokens)) == [pair]


def test_columns_of_labels_and_the_title(tmp_path, tokens):
    path = tmp_path / "pairs.csv"
    path.write_text(
        HEADER.strip() + ",label:IO,label:S2,title\n" + GOOD.strip() + ',Mary,"met, John",gifts\n'
        "Then John met,Then Mary met, Mary, John,John,,\n"
    )
    task = PairsTask(path=str(path), only_correct=True)
    assert task.title == "gifts, answered correctly"
    first, second = pairs = task.prompt_pairs(tokens)
    assert pairs.labels() == ["BOS", "IO", "END"]
    words = {label: first.token_strings[place] for label, place in first.labels.items()}
    assert (words["IO"], words["S2"], words["END"]) == (" Mary", " John", " to")
    assert second.token_strings[second.index("IO")] == " John"
    path.write_text(HEADER + GOOD)
    assert PairsTask(path=str(path)).title == "pairs"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("clean,corrupt,answer\na,b,c\n", "lacks the column 'distractor'; found clean, corrupt, answer"),
        ("", "lacks the column 'clean'; found none"),
        (HEADER, "has no prompts below its header"),
        (HEADER + GOOD + "Then John,Then John and Mary, Mary, John\n", r"row 3: clean has \d+ tokens and corrupt \d+"),
        (
            HEADER + "Then John met,Then Mary met, Mary Jane, John\n",
            "row 2: answer ' Mary Jane' is not exactly one",
        ),
        (
            HEADER + "Then John met,Then Mary met,Mary, John\n",
            r"row 2: answer 'Mary' is not .*leading space",
        ),
        (
            HEADER + "Then John met,Then Mary met, Mary, Mary\n",
            "row 2: answer and distractor are the same",
        ),
        (HEADER + "John met,,a,b\n", "row 2: the column 'corrupt' is empty"),
        (
            HEADER + "When John met, Mary left,b, c, d\n",
            "row 2 has more columns than the header; put text with commas in quotes",
        ),
        (HEADER + "John met\n", "row 2: the column 'corrupt' is empty"),
        (
            HEADER + 'Then John met,Then Mary met,"["" Mary"", "" John""]", John\n',
            "row 2: answer and distractor are the same token ' John'",
        ),
        (
            HEADER + 'Then John met,Then Mary met,"["" Mary"", "" Mary Ann""]", John\n',
            "row 2: answer ' Mary Ann' is not exactly one token",
        ),
        (
            HEADER + "Then John met,Then Mary met,\"[' Mary', ' Anna']\", John\n",
            r"row 2: answer .* is not exactly one token of this model; several texts are a JSON list, in double quotes",
        ),
        (
            HEADER.strip() + ",label:S2\n" + GOOD.strip() + ",John\n",
            "row 2: the column 'label:S2' is 'John', which is 2 times in the clean prompt",
        ),
        (HEADER.strip() + ",label:END\n" + GOOD.strip() + ",John\n", "column 'label:END': got the label 'END'"),
        (
            HEADER.strip() + ",title\n" + GOOD.strip() + ",gifts\n" + GOOD.strip() + ",others\n",
            "row 3: the column 'title' is 'others', but it is 'gifts' in row 2; expected one title",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_reported(prompts, content, line):
    with pytest.raises(LabError, match=line):
        prompts(content)


def test_all_bad_rows_are_reported_at_once(prompts):
    """The first ten, with the numbers that a spreadsheet shows: the header is row 1, and a cell may have two lines."""
    header = HEADER.replace("\n", ",comment\n")
    good = 'Then John met,Then Mary met, Mary, John,"two\nlines"\n\n'
    with pytest.raises(
        LabError, match=r"12 of 13 rows cannot be used: row 4: clean has [^;]*; .*; and 2 more$"
    ) as error:
        prompts(header + good + "".join(f"Then John {n},Then, Mary, John\n" for n in range(12)))
    assert str(error.value).count("they must be equally long") == 10
    with pytest.raises(
        LabError, match=r"3 of 4 rows cannot be used: row 3: the .*; row 4: the .*; row 5 has more .* in quotes$"
    ):
        prompts(HEADER + GOOD + "a,,c,d\na,b,,d\n" + "a,b,c,d,e\n")


def test_what_is_easily_overlooked_is_reported_with_its_tokens(prompts):
    notes = prompts(HEADER + "Then John met \u201cMary\u201d,Then Mary met \u201cMary\u201d, Mary, John\n" + GOOD).notes
    assert len(notes) == 1
    assert notes[0].startswith("2 of 4 prompts have typographic quotes: clean in row 2 has ")


def test_a_missing_file_is_reported():
    task = PairsTask.from_config({"name": "pairs", "path": "/no/such.csv"}, "task")
    with pytest.raises(LabError, match=r"task\.path: '/no/such.csv' is not a file$"):
        task.check()


def test_one_pair_by_hand(tokens):
    values = {"prompt": "Then John met", "corrupt": "Then Mary met", "answer": " Mary", "distractor": " John"}
    task = PairsTask.from_config({"name": "pairs", "path": None} | values, "task")
    task.check()
    (pair,) = task.prompt_pairs(tokens)
    assert (pair.clean, pair.corrupted, pair.answer, pair.distractor) == tuple(values.values())
    longer = PairsTask.from_config({"name": "pairs", "path": None} | values | {"corrupt": "Then Mary met John"}, "task")
    with pytest.raises(LabError, match=r"^task: clean has \d+ tokens and corrupt \d+"):
        longer.prompt_pairs(tokens)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, r"^task\.path: got None; give a file with task\.path=…, or one pair with task\.prompt=…"),
        ({"prompt": "Then John met", "answer": " Mary"}, r"^task\.corrupt: got None; give a file"),
        ({"path": "a.csv", "answer": " Mary"}, r"^task\.answer: got ' Mary', but task\.path=a\.csv already gives"),
    ],
)
def test_one_source_of_prompts_is_needed(values, line):
    with pytest.raises(LabError, match=line):
        PairsTask(**values)


def test_prompts_that_a_run_has_written_are_read_as_they_were(tmp_path):
    """Those that a spreadsheet would take for formulas have an apostrophe in the file."""
    row = {"clean": "=John met", "corrupt": "- Mary met", "answer": "+", "distractor": " John"}
    (tmp_path / "prompts.csv").write_bytes(csv_bytes(pd.DataFrame([row])))
    assert "'=John met" in (tmp_path / "prompts.csv").read_text()
    (read,) = read_pairs(tmp_path / "prompts.csv", "task.path").rows
    assert read == PairRow("row 2", **row)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, what in (("/dev/zero", "a device"), (tmp_path / "pipe", "a pipe"), (tmp_path, "a folder")):
        with pytest.raises(LabError, match=rf"^task\.path: '{path}' is not a file but {what}$"):
            PairsTask(path=str(path)).check()
