"""The packaged models, and the training that made them."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2LMHeadModel, GPTNeoXForCausalLM, LlamaForCausalLM

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi_text import NAMES
from ioi_lab.tiny import TINY_MODELS, tiny_folder
from ioi_lab.tiny.folders import load
from ioi_lab.tiny.recipes import RECIPES, train_tokenizer
from ioi_lab.tiny.scoring import score
from ioi_lab.tiny.train import batch, train, weighted_loss


@pytest.mark.parametrize("name", TINY_MODELS)
def test_packaged_models_do_their_tasks_on_unseen_pairs_of_words(name):
    model, tokenizer = load(tiny_folder(name))
    held_out = RECIPES[name].held_out
    scores = score(model, tokenizer, held_out, candidates=2000)
    assert [s.name for s in scores] == [kind.name for kind in held_out]
    for s in scores:
        is_new_sentence = "unseen" in s.name
        assert s.prompts > (50 if is_new_sentence else 300)
        assert s.accuracy >= (0.9 if is_new_sentence else 0.99)
        assert s.p_answer >= (0.3 if is_new_sentence else 0.8)


def test_packaged_models_are_ordinary_hugging_face_models():
    gpt2, _ = load(tiny_folder("tiny-gpt2"))
    pythia, _ = load(tiny_folder("tiny-pythia"))
    llama, _ = load(tiny_folder("tiny-llama"))
    assert isinstance(gpt2, GPT2LMHeadModel)
    assert isinstance(pythia, GPTNeoXForCausalLM)
    assert isinstance(llama, LlamaForCausalLM)
    assert pythia.config.use_parallel_residual


@pytest.mark.parametrize("name", TINY_MODELS)
def test_packaged_models_are_small_and_have_a_card(name):
    folder = tiny_folder(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    card = (folder / "README.md").read_text()
    for fact in ("data", "steps", "seconds", "mean P(answer)", *(kind.name for kind in RECIPES[name].held_out)):
        assert fact in card


def test_vocabularies_differ_in_size_and_order_and_keep_names_whole():
    vocabularies = [AutoTokenizer.from_pretrained(tiny_folder(name)).get_vocab() for name in TINY_MODELS]
    for vocabulary in vocabularies:
        assert all(f"Ġ{name}" in vocabulary for name in NAMES)
    for one, other in combinations(vocabularies, 2):
        shared = set(one) & set(other)
        assert sorted(shared, key=one.get) != sorted(shared, key=other.get)
        assert len(one) != len(other)


@pytest.fixture
def smaller_recipes(monkeypatch):
    """A tenth of the sentences for the tokenizer, a quarter of those for each step."""
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, tokenizer_texts=2000, batch_size=32))


@pytest.mark.parametrize("name", TINY_MODELS)
def test_training_repeats_itself_and_replaces_the_folder_whole(
    name, tmp_path, restored_torch, smaller_recipes, monkeypatch
):
    monkeypatch.setattr("ioi_lab.tiny.train.score", lambda model, tokenizer, held_out: [])
    for folder in ("first", "again"):
        train(name, tmp_path / folder, seed=5, steps=3)
    weights = [load_file(tmp_path / folder / "model.safetensors") for folder in ("first", "again")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "first"]
    train(name, tmp_path / "again", seed=6, steps=3)
    other = load_file(tmp_path / "again" / "model.safetensors")
    assert not all(torch.equal(weights[0][key], other[key]) for key in other)


def test_training_refuses_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(LabError, match=r"--out: .* contains 'thesis.txt'"):
        train("tiny-gpt2", tmp_path, seed=0, steps=1)
    assert (tmp_path / "thesis.txt").exists()


def test_training_lowers_the_loss(tmp_path, restored_torch, smaller_recipes, monkeypatch):
    """A few steps must already prefer the task's words: the whole recipe is run by hand, its scores are on the card."""
    recipe = RECIPES["tiny-pythia"]
    tokenizer = train_tokenizer(recipe)
    ((tokens, weights),) = batch(tokenizer, recipe, random.Random(1), progress=0.0)

    def loss_of(model):
        return weighted_loss(model(tokens).logits, tokens, weights).item() / weights.sum().item()

    torch.manual_seed(0)
    before = loss_of(recipe.model(tokenizer))
    monkeypatch.setattr("ioi_lab.tiny.train.score", lambda model, tokenizer, held_out: [])
    train("tiny-pythia", tmp_path / "model", seed=0, steps=30)
    model, _ = load(tmp_path / "model")
    assert loss_of(model) < before - 1


def test_the_loss_is_that_of_hugging_face_with_weights():
    model, tokenizer = load(tiny_folder("tiny-pythia"))
    ((tokens, weights),) = batch(tokenizer, replace(RECIPES["tiny-pythia"], batch_size=8), random.Random(1), 0.0)
    targets = tokens.masked_fill(weights == 0, -100)
    expected = model(tokens, labels=targets).loss.item()
    assert weights.unique().tolist() == [0, 1]
    assert weighted_loss(model(tokens).logits, tokens, weights).item() / weights.sum().item() == pytest.approx(
        expected, rel=1e-5
    )


def test_what_the_texts_mark_counts_more_and_parts_have_similar_lengths():
    recipe = replace(RECIPES["tiny-llama"], batch_size=60)
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("tiny-llama"))
    parts = batch(tokenizer, recipe, random.Random(1), progress=1.0)
    assert [len(tokens) for tokens, _ in parts] == [20, 20, 20]
    lengths = [(weights > 0).sum(dim=1) for _, weights in parts]
    assert all(before.max() <= after.min() for before, after in pairwise(lengths))
    assert all(tokens.shape[1] <= recipe.max_positions for tokens, _ in parts)
    tokens, weights = parts[-1]
    assert sorted(weights.unique().tolist()) == pytest.approx([0, recipe.unmarked, 1])
    counted = {tokenizer.decode(token).strip() for token in tokens[weights == 1]}
    assert counted & set(NAMES)
    assert "." not in counted
