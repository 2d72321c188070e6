from __future__ import annotations

from collections import Counter

import pytest
from transformers import AutoTokenizer

from ioi_lab.errors import LabError
from ioi_lab.steering.contrasts import contrast_of, without_names
from ioi_lab.tasks.pairs import PairsTask
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task

PAIR = ("James", "Robert")


@pytest.fixture(scope="module")
def words():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


@pytest.fixture
def contrast(words):
    def build(name, names=PAIR, seed=0, **task):
        return contrast_of(name, ioi_task(**task).prompt_pairs(words), words, names, seed)

    return build


def people(prompts):
    return {name for prompt in prompts for name in (prompt.steered.answer, prompt.steered.distractor)}


def texts(prompts):
    return {prompt.steered.clean for prompt in prompts}


@pytest.mark.parametrize("name", ["clean_corrupt", "answer_position"])
@pytest.mark.parametrize("n", [2, 9, 64, 300])
def test_the_halves_share_no_names_and_have_similar_sizes(contrast, name, n):
    split = contrast(name, n=n)
    assert split.names_differ
    assert not people(split.training) & people(split.held_out)
    sizes = len(split.training), len(split.held_out)
    assert min(sizes) >= 0.7 * max(sizes)
    assert sum(sizes) + split.n_dropped == n
    assert split.n_dropped <= 0.25 * n


def test_the_same_seed_gives_the_same_split(contrast):
    assert contrast("answer_position", n=20) == contrast("answer_position", n=20)
    assert contrast("answer_position", n=20).steered != contrast("answer_position", n=20, seed=1).steered


def test_clean_against_corrupted_is_the_task_itself(contrast):
    split = contrast("clean_corrupt", n=10)
    assert split.signs == [1] * len(split.held_out)
    assert all(prompt.sides is prompt.steered for prompt in split.held_out)


def test_answer_position_puts_the_same_names_in_either_order(contrast, words):
    split = contrast("answer_position", n=20)
    for prompt in (*split.training, *split.held_out):
        sides, own = prompt.sides, prompt.steered
        answer, distractor = own.answer_id, own.distractor_id
        assert sides.clean_tokens.index(answer) < sides.clean_tokens.index(distractor)
        assert sides.corrupted_tokens.index(answer) > sides.corrupted_tokens.index(distractor)
        assert Counter(sides.clean_tokens) == Counter(sides.corrupted_tokens) == Counter(own.clean_tokens)
        assert sides.clean_tokens[own.labels["S2"]] == sides.corrupted_tokens[own.labels["S2"]] == distractor
        assert own.clean_tokens == (sides.clean_tokens if prompt.sign > 0 else sides.corrupted_tokens)
        assert words.encode(sides.clean) == sides.clean_tokens
        assert words.encode(sides.corrupted) == sides.corrupted_tokens
    assert {prompt.sign for prompt in split.held_out} == {1, -1}


def test_a_pair_of_names_replaces_the_prompts_own(contrast, words):
    split = contrast("name_pair", n=40, corruption="swap")
    assert not split.names_differ
    answers = Counter()
    for prompt in (*split.training, *split.held_out):
        own, sides = prompt.steered, prompt.sides
        assert {own.answer, own.distractor} == {" James", " Robert"}
        assert own.answer == (" James" if prompt.sign > 0 else " Robert")
        assert words.encode(own.clean) == own.clean_tokens
        assert words.encode(own.corrupted) == own.corrupted_tokens
        assert own.clean.count(own.distractor) == own.corrupted.count(own.answer) == 2
        assert sides.clean.count(" Robert") == sides.corrupted.count(" James") == 2
        assert own.clean == (sides.clean if prompt.sign > 0 else sides.corrupted)
    for prompt in split.held_out:
        answers[own_order(prompt.steered), prompt.steered.answer] += 1
    for first in (True, False):  # each name is the answer equally often, whichever is named first
        assert min(answers[first, " James"], answers[first, " Robert"]) > 0
        assert abs(answers[first, " James"] - answers[first, " Robert"]) <= 1


def own_order(pair):
    return pair.labels["IO"] < pair.labels["S1"]


def test_prompts_that_all_share_their_answers_are_split_by_prompt(words, tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"Then {name} met,Then Mary met, Mary, John" for name in ("John", "James", "Robert", "Paul")]
    path.write_text("\n".join(["clean,corrupt,answer,distractor", *rows]))
    prompts = PairsTask.from_config({"name": "pairs", "path": str(path)}, "task").prompt_pairs(words)
    split = contrast_of("clean_corrupt", prompts, words, PAIR, seed=0)
    assert not split.names_differ
    assert len(split.training) == len(split.held_out) == 2
    assert not texts(split.training) & texts(split.held_out)
    for name in ("answer_position", "name_pair"):
        with pytest.raises(LabError, match=rf"{name} needs prompts with the label IO, .*clean_corrupt"):
            contrast_of(name, prompts, words, PAIR, seed=0)


def test_prompts_without_a_vectors_own_names(contrast):
    split = contrast("answer_position", n=20)
    used = sorted(people(split.training))
    again = without_names(split, used)
    assert texts(again.held_out) == texts(split.held_out)
    assert again.training == ()
    with pytest.raises(LabError, match=r"every prompt has a name that the vector was made from; change task\.seed"):
        without_names(split, sorted(people([*split.training, *split.held_out])))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("James", "Xanthippe"), r"intervention.names: ' Xanthippe' is not exactly one token of this model"),
        (("James", " James"), "intervention.names: got 'James' twice; expected two different names"),
    ],
)
def test_names_that_are_not_a_pair_are_refused(contrast, names, message):
    with pytest.raises(LabError, match=message):
        contrast("name_pair", names=names, n=4)


@pytest.mark.parametrize("name", ["clean_corrupt", "answer_position", "name_pair"])
def test_one_prompt_has_no_two_halves(contrast, name):
    with pytest.raises(LabError, match=r"got 1 prompt, which leaves one side of the split empty; expected 2 or more"):
        contrast(name, n=1)


def pronouns(words, n=12):
    """Prompts of two answers, made of names and places that the tiny tokenizer has: ` he` and ` she`, or two names."""
    prompts = ioi_task(n=n).prompt_pairs(words)
    first, second = " James", " Robert"
    made = []
    for index, prompt in enumerate(prompts):
        own, other = (first, second) if index % 3 else (second, first)
        texts = [
            text.replace(prompt.answer, " <a>").replace(prompt.distractor, " <d>")
            for text in (prompt.clean, prompt.corrupted)
        ]
        clean, corrupted = (text.replace(" <a>", own).replace(" <d>", other) for text in texts)
        made.append(PromptPair.build(words, clean, corrupted, own, other, lambda _: {}))
    return PromptPairs(made)


def test_two_answers_have_the_same_answer_on_the_positive_side_of_every_prompt(words):
    split = contrast_of("two_answers", pronouns(words), words)
    for prompt in (*split.training, *split.held_out):
        assert (prompt.steered.answer == " Robert") == (prompt.sign == 1)
        sides = (prompt.steered.clean_tokens, prompt.steered.corrupted_tokens)
        assert (prompt.sides.clean_tokens, prompt.sides.corrupted_tokens) == (
            sides if prompt.sign == 1 else sides[::-1]
        )
    assert set(split.signs) == {1, -1}


def test_two_answers_need_prompts_with_the_same_two(contrast):
    with pytest.raises(LabError, match="two_answers needs prompts that all have the same two answers"):
        contrast("two_answers", n=12)
