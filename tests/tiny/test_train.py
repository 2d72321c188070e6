"""The packaged models, and the training that made them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2LMHeadModel, GPTNeoXForCausalLM

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi_text import NAMES
from ioi_lab.tiny import TINY_MODELS, tiny_folder
from ioi_lab.tiny.folders import load
from ioi_lab.tiny.recipes import RECIPES, train_tokenizer
from ioi_lab.tiny.train import _batches, score, train


@pytest.mark.parametrize("name", TINY_MODELS)
def test_packaged_models_do_the_task_on_unseen_pairs_of_names(name):
    model, tokenizer = load(tiny_folder(name))
    scores = score(model, tokenizer, candidates=2000)
    assert [s.order for s in scores] == ["abba", "baba"]
    for s in scores:
        assert s.prompts > 300
        assert s.accuracy >= 0.99
        assert s.p_answer >= 0.8


def test_packaged_models_are_ordinary_hugging_face_models():
    gpt2, _ = load(tiny_folder("tiny-gpt2"))
    pythia, _ = load(tiny_folder("tiny-pythia"))
    assert isinstance(gpt2, GPT2LMHeadModel)
    assert isinstance(pythia, GPTNeoXForCausalLM)
    assert pythia.config.use_parallel_residual


@pytest.mark.parametrize("name", TINY_MODELS)
def test_packaged_models_are_small_and_have_a_card(name):
    folder = tiny_folder(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    card = (folder / "README.md").read_text()
    for fact in ("data", "steps", "seconds", "ABBA", "BABA", "mean P(answer)"):
        assert fact in card


def test_vocabularies_differ_in_size_and_order_and_keep_names_whole():
    vocabularies = [AutoTokenizer.from_pretrained(tiny_folder(name)).get_vocab() for name in TINY_MODELS]
    for vocabulary in vocabularies:
        assert all(f"Ġ{name}" in vocabulary for name in NAMES)
    shared = sorted(set(vocabularies[0]) & set(vocabularies[1]))
    orders = [sorted(shared, key=vocabulary.get) for vocabulary in vocabularies]
    assert orders[0] != orders[1]
    assert len(vocabularies[0]) != len(vocabularies[1])


@pytest.fixture
def smaller_recipes(monkeypatch):
    """A tenth of the sentences for the tokenizer, a quarter of those for each step."""
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, tokenizer_sentences=2000, batch_size=32))


@pytest.mark.parametrize("name", TINY_MODELS)
def test_training_repeats_itself_and_replaces_the_folder_whole(
    name, tmp_path, restored_torch, smaller_recipes, monkeypatch
):
    monkeypatch.setattr("ioi_lab.tiny.train.score", lambda model, tokenizer: [])
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
    tokens, targets = next(_batches(tokenizer, 64, random.Random(1)))
    torch.manual_seed(0)
    before = recipe.model(tokenizer)(tokens, labels=targets).loss.item()
    monkeypatch.setattr("ioi_lab.tiny.train.score", lambda model, tokenizer: [])
    train("tiny-pythia", tmp_path / "model", seed=0, steps=30)
    model, _ = load(tmp_path / "model")
    assert model(tokens, labels=targets).loss.item() < before - 1
