"""The recipes: tokenizers that keep every word whole, and models of the sizes that the cards state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import AutoConfig, AutoTokenizer

from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES
from ioi_lab.tiny import TINY_MODELS, tiny_folder
from ioi_lab.tiny.recipes import RECIPES, train_tokenizer


def test_there_is_a_recipe_for_each_packaged_model():
    assert tuple(RECIPES) == TINY_MODELS


@pytest.mark.parametrize("name", TINY_MODELS)
def test_an_untrained_model_has_the_shape_of_the_packaged_one(name):
    packaged = AutoConfig.from_pretrained(tiny_folder(name)).to_dict()
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(name))
    fresh = RECIPES[name].model(tokenizer).config.to_dict()
    ours = ("vocab_size", "bos_token_id", "eos_token_id", "model_type")
    sizes = [key for key in packaged if key in ours or key.startswith(("n_", "num_", "hidden", "max_pos", "interm"))]
    assert len(sizes) > 8
    assert {key: fresh[key] for key in sizes} == {key: packaged[key] for key in sizes}


@pytest.mark.parametrize("name", TINY_MODELS)
def test_every_word_of_the_task_is_one_token_after_a_space(name):
    """With a tenth of the sentences: the words are in it many times."""
    recipe = replace(RECIPES[name], tokenizer_texts=2000)
    tokenizer = train_tokenizer(recipe)
    for word in (*NAMES, *PLACES, *OBJECTS):
        assert len(tokenizer(f" {word}", add_special_tokens=False).input_ids) == 1
    bare = [len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in NAMES]
    assert all(bare) == recipe.bare_words
