from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi_references import abc_references
from ioi_lab.tasks.ioi_text import NAMES, TEMPLATES
from ioi_lab.tasks.pairs import PairsTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task

N = 6


@pytest.fixture(scope="module")
def tokens():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


@pytest.fixture(scope="module")
def prompts(tokens):
    return ioi_task(n=40, corruption="abc").prompt_pairs(tokens)


def words(tokens, ids):
    return tokens.text(ids).split()


def test_references_have_the_sentence_the_order_and_the_labels_of_the_prompt(tokens, prompts):
    references = abc_references(prompts, tokens, N, seed=0)
    for pair, indices in zip(prompts, references.of_prompt, strict=True):
        assert len(indices) == N
        for index in indices:
            ids = references.prompts[index].clean_tokens
            assert len(ids) == len(pair)
            names = [ids[pair.labels[label]] for label in ("IO", "S1", "S2")]
            assert len(set(names)) == 3
            assert all(tokens.strings((name,))[0].strip() in NAMES for name in names)
            elsewhere = [
                (own, other)
                for position, (own, other) in enumerate(zip(pair.clean_tokens, ids, strict=True))
                if position not in {pair.labels[label] for label in ("IO", "S1", "S2")}
            ]
            changed = sum(own != other for own, other in elsewhere)
            n_scenes = 3 if pair.group == TEMPLATES[-1] else 2  # the last sentence names its object twice
            assert changed <= n_scenes


def test_prompts_of_one_sentence_and_order_share_their_references(tokens, prompts):
    references = abc_references(prompts, tokens, N, seed=0)
    by_frame = {}
    for pair, indices in zip(prompts, references.of_prompt, strict=True):
        assert by_frame.setdefault(pair.frame, indices) == indices
    assert len(by_frame) == 32
    assert len(references.prompts) == 32 * N


def test_no_reference_is_a_twin_and_places_and_objects_vary(tokens):
    few = ioi_task(n=200, corruption="abc", template=0, order="abba").prompt_pairs(tokens)
    references = abc_references(few, tokens, 200, seed=0)
    drawn = {pair.clean_tokens for pair in references.prompts}
    assert len(drawn) == 200
    assert not drawn & {pair.corrupted_tokens for pair in few}
    places = {words(tokens, ids)[7].rstrip(",") for ids in drawn}
    assert len(places) > 10


def test_other_prompts_of_a_cell_do_not_change_its_references(tokens, prompts):
    seeds = [abc_references(prompts, tokens, N, seed=seed) for seed in (0, 0, 1)]
    assert seeds[0].prompts == seeds[1].prompts != seeds[2].prompts


def test_a_sentence_of_ones_own_has_references(tokens):
    own = ioi_task(prompt="When James and Robert went to the park, James gave a ball to").prompt_pairs(tokens)
    references = abc_references(own, tokens, N, seed=0)
    assert len(references.prompts) == N
    assert all(
        words(tokens, pair.clean_tokens)[7:] == ["park,", *words(tokens, pair.clean_tokens)[8:]]
        for pair in references.prompts
    )


def test_too_few_prompts_of_a_cell_are_reported():
    """With 10 names in the vocabulary, a sentence has 10 · 9 · 8 = 720 reference prompts, and one is asked for more."""
    some = [*NAMES[:10], "When", "and", "met", "at", "the", "gave", "it", "to"]
    vocabulary = {word: i for i, word in enumerate(["[UNK]", *some, *(f" {word}" for word in some)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_next")
    own = Tokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]"), prepend_bos=False)
    first, second = NAMES[:2]
    prompts = ioi_task(prompt=f"When {first} and {second} met, {first} gave it to").prompt_pairs(own)
    with pytest.raises(LabError, match=r"^intervention\.n_reference: got 721, but 14420 draws gave only \d+ different"):
        abc_references(prompts, own, 721, seed=0)


def test_other_tasks_have_none(tokens):
    task = PairsTask(prompt="Then John met", corrupt="Then Mary met", answer=" Mary", distractor=" John")
    with pytest.raises(LabError, match=r"^intervention\.reference: got 'abc', but only prompts of task=ioi"):
        abc_references(task.prompt_pairs(tokens), tokens, N, seed=0)
