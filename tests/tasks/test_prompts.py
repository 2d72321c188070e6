from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder


def pair(length=4, labels=None, strings=None):
    strings = strings or tuple("abcdefgh"[:length])
    ids = (0,) * length
    return PromptPair("c", "d", (" x",), (" y",), ids, ids, (1,), (2,), labels or {"END": length - 1}, strings)


@pytest.fixture(scope="module")
def tokens():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


def test_a_pair_is_built_from_text(tokens):
    built = PromptPair.build(tokens, "Then John met", "Then Mary met", " Mary", " John", lambda ids: {"who": 2})
    assert [built.token_strings[position] for position in built.labels.values()] == ["<|endoftext|>", " John", " met"]
    assert list(built.labels) == ["BOS", "who", "END"]
    assert tokens.tokenizer.decode([built.answer_id, built.distractor_id]) == " Mary John"


def test_positions():
    p = pair(labels={"S2": 2, "END": 3})
    assert list(p.positions("all")) == [0, 1, 2, 3]
    assert list(p.positions("S2")) == [2]
    assert list(p.positions(-1)) == [3]
    with pytest.raises(LabError, match="got 'IO', expected 'all', an index or one of S2, END"):
        p.positions("IO")
    with pytest.raises(LabError, match="expected an index below 4"):
        p.positions(4)


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (("Then John met", "Then John and Mary met", " Mary", " John"), "clean has 4 tokens and corrupt 6"),
        (("Then John met", "Then Mary met", " Mary Jane", " John"), "answer ' Mary Jane' is not exactly one token"),
        (("Then John met", "Then Mary met", " Mary", " Xyzzyx"), "distractor ' Xyzzyx' is not exactly one token"),
        (("Then John met", "Then Mary met", " Mary", " Mary"), "answer and distractor are the same token"),
    ],
)
def test_texts_that_make_no_pair_are_refused(tokens, texts, line):
    with pytest.raises(LabError, match=line):
        PromptPair.build(tokens, *texts)


def test_no_prompts_is_refused():
    with pytest.raises(LabError, match="no prompts"):
        PromptPairs([])


def test_buckets_group_rows_by_length():
    prompts = PromptPairs([pair(4), pair(3), pair(4)])
    assert prompts.buckets() == {3: [1], 4: [0, 2]}


def test_labels_are_those_of_every_prompt_in_their_average_order():
    prompts = PromptPairs(
        [pair(labels={"S1": 2, "IO": 1, "END": 3}), pair(labels={"IO": 2, "S1": 0, "END": 3, "X": 1})]
    )
    assert prompts.labels() == ["S1", "IO", "END"]


def test_each_position_is_every_index_where_prompts_are_aligned_and_every_label_otherwise():
    assert PromptPairs([pair(4), pair(4)]).each_position() == [0, 1, 2, 3]
    assert PromptPairs([pair(4), pair(3)]).each_position() == ["END"]
    abba, baba = pair(labels={"IO": 1, "S1": 2}), pair(labels={"IO": 2, "S1": 1})
    assert PromptPairs([abba, baba]).each_position() == ["IO", "S1"]


def test_position_names():
    prompts = PromptPairs(
        [
            pair(5, {"BOS": 0, "S1": 1, "END": 4}, ("<s>", " Ann", " the", " zoo", " to")),
            pair(5, {"BOS": 0, "S1": 1, "END": 4}, ("<s>", " Bob", " the", " bar", " to")),
        ]
    )
    names = [prompts.position_name(position) for position in [*range(5), "S1"]]
    assert names == ["BOS", "S1", "the", "token 3", "to (END)", "S1"]


def test_no_two_positions_have_the_same_name():
    prompts = PromptPairs([pair(6, {"BOS": 0, "END": 5}, ("<s>", " the", " to", " the", ",", " to"))] * 2)
    assert [prompts.position_name(position) for position in range(6)] == [
        "BOS",
        "the (1)",
        "to",
        "the (3)",
        ",",
        "to (END)",
    ]
    assert prompts.position_name(-3) == "the (-3)"


def test_positions_that_no_prompt_or_not_every_prompt_has_are_reported():
    prompts = PromptPairs([pair(4, {"S2": 1, "END": 3}), pair(3, {"IO": 1, "END": 2})])
    for position in ("all", "END", 0, 2, -3):
        prompts.check_position(position, "position")
    for position, line in (
        ("S2", "^k: got 'S2', expected one of all, END, or a token index$"),
        (3, "^k: got 3, expected an index from -3 to 2$"),
        (-4, "^k: got -4, expected an index from -3 to 2$"),
    ):
        with pytest.raises(LabError, match=line):
            prompts.check_position(position, "k")
    prompts.check_index(1, "k")
    with pytest.raises(LabError, match=r"^k: got 2, expected the index of a prompt, 0 to 1$"):
        prompts.check_index(2, "k")


def test_prompts_differ_from_the_first_changed_token_on(tokens):
    built = PromptPair.build(tokens, "Then John met Mary", "Then John met Ann", " Mary", " John")
    assert built.first_difference == 4
    assert PromptPair.untasked((5, 6, 7)).first_difference == 3


def test_lists_with_the_same_prompts_are_equal(tokens):
    first, second = (
        PromptPair.build(tokens, "Then John met", f"Then {name} met", " Mary", " John") for name in ("Mary", "Ann")
    )
    prompts = PromptPairs([first, second])
    assert prompts == PromptPairs([first, second]) != PromptPairs([second, first])
    assert hash(prompts) == hash(PromptPairs([first, second]))
    assert prompts.only(1) == PromptPairs([second])
