"""Position labels in files of prompts."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.label_columns import label_columns, label_places
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder

CLEAN = "When John and Mary went to the store, John gave a drink to"


@pytest.fixture(scope="module", params=[True, False])
def tokens(request):
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=request.param)


def test_names_of_columns():
    names = ["clean", "label:S2", " Label : IO", "label", "labels", "label_encoded"]
    assert label_columns(names, "task.path") == {"label:S2": "S2", " Label : IO": "IO"}


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (
            ["label:END"],
            "task.path, column 'label:END': got the label 'END', expected a word such as S2, other than BOS",
        ),
        (["label:"], "got the label '', expected a word"),
        (["label:S2,IO"], "got the label 'S2,IO', expected a word"),
        (["label:3"], "got the label '3', expected a word"),
        (["label:S2", "label: S2"], "task.path has two columns for the label 'S2'; expected one"),
    ],
)
def test_labels_that_would_mean_something_else_are_refused(names, line):
    with pytest.raises(LabError, match=line):
        label_columns(names, "task.path")


def test_a_label_is_at_the_last_token_of_its_text(tokens):
    places = label_places(tokens, CLEAN, {"IO": "Mary", "S2": "store, John", "S1": "When John", "to": "drink to"})
    strings = tokens.strings(tokens.encode(CLEAN))
    assert {label: strings[place].strip() for label, place in places.items()} == {
        "IO": "Mary",
        "S2": "John",
        "S1": "John",
        "to": "to",
    }
    assert places["S1"] < places["IO"] < places["S2"] < places["to"] == len(strings) - 1
    assert label_places(tokens, CLEAN, {}) == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Anna", "the column 'label:S2' is 'Anna', which is not in the clean prompt 'When John"),
        ("John", "is 'John', which is 2 times in the clean prompt 'When .*; write more of the words in front of"),
        ("Mar", "is 'Mar', which ends within the token ' Mary'"),
    ],
)
def test_a_text_that_is_not_at_one_place_is_refused(tokens, text, line):
    with pytest.raises(LabError, match=line):
        label_places(tokens, CLEAN, {"S2": text})
