"""The recipes of the tiny models: architecture, tokenizer and training settings."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES
from ioi_lab.tiny import corpus, tasks_corpus
from ioi_lab.tiny.scoring import NAMES_BY_ORDER, THREE_TASKS, HeldOut

BOS: Final = "<|endoftext|>"
MAX_POSITIONS: Final = 64
MAX_TOKENS: Final = 4000
"""An upper bound that the corpus does not reach: merging ends when every word is one token."""


def tiny_gpt2(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return an untrained `GPT2LMHeadModel`: 4 layers, 4 heads, d_model 128."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=MAX_POSITIONS,
            n_embd=128,
            n_inner=256,
            n_layer=4,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def tiny_pythia(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return an untrained `GPTNeoXForCausalLM`: 4 layers, 4 heads, d_model 96."""
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=MAX_POSITIONS,
            hidden_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=384,
            rotary_pct=1.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def tiny_llama(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return an untrained `LlamaForCausalLM`: 4 layers, 4 heads, d_model 128.

    Its weights are larger than by default, which is meant for wider models, and those that write into the residual
    stream are smaller than the embedding, so that all layers can read the token from the start.
    """
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=tokenizer.model_max_length,
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            intermediate_size=128,
            initializer_range=0.05,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(2)
        for block in model.model.layers:
            for written in (block.self_attn.o_proj, block.mlp.down_proj):
                written.weight.div_((2 * model.config.num_hidden_layers) ** 0.5)
    return model


@dataclass(frozen=True)
class Recipe:
    """The settings with which a tiny model is trained."""

    description: str
    model: Callable[[PreTrainedTokenizerBase], PreTrainedModel]
    """Makes an untrained model for a tokenizer."""

    bare_words: bool
    """Whether the tokenizer also learns each name, place and object without a space in front. This makes the two
    vocabularies differ in size and order, as those of real models do."""

    steps: int
    learning_rate: float
    tokenizer_seed: int
    text: Callable[[random.Random, float], str] = corpus.sentence
    """Draws a text of the training data, given the share of the training that is behind it, from 0 to 1. Words may be
    marked (`MARK`)."""

    data: str = (
        f"sentences from `ioi_lab/tiny/corpus.py`: {corpus.IOI_SHARE:.0%} IOI, the others with one, two and three names"
    )
    """What these texts are, for the model card."""

    left_out: str = "one pair of names in five never occurs in one sentence"
    """What does not occur in them, for the model card."""

    does: str = "indirect object identification"
    """What the model does, for the model card."""

    max_positions: int = MAX_POSITIONS
    """The largest number of tokens of a text."""

    held_out: tuple[HeldOut, ...] = NAMES_BY_ORDER
    """The prompts that it is scored on."""

    beta2: float = 0.999
    """How slowly Adam's mean of squared gradients changes."""

    unmarked: float = 1.0
    """The weight in the loss of tokens that are not marked in the texts; that of marked ones is 1."""

    batch_size: int = 128
    n_parts: int = 1
    """The number of parts, sorted by length, in which a batch is evaluated, to save padding; gradients are added up."""

    tokenizer_texts: int = 20_000


RECIPES: Final[dict[str, Recipe]] = {
    "tiny-gpt2": Recipe(
        "GPT2LMHeadModel (absolute positions, LayerNorm)",
        tiny_gpt2,
        bare_words=False,
        steps=3000,
        learning_rate=2e-3,
        tokenizer_seed=1,
    ),
    "tiny-pythia": Recipe(
        "GPTNeoXForCausalLM (rotary positions, parallel blocks)",
        tiny_pythia,
        bare_words=True,
        steps=2500,
        learning_rate=2e-3,
        tokenizer_seed=2,
    ),
    "tiny-llama": Recipe(
        "LlamaForCausalLM (rotary positions, RMSNorm, gated MLPs)",
        tiny_llama,
        bare_words=False,
        steps=3500,
        learning_rate=2.5e-3,
        tokenizer_seed=3,
        text=tasks_corpus.text,
        data="texts from `ioi_lab/tiny/tasks_corpus.py`: "
        + ", ".join(f"{share:.0%} {kind}" for kind, share in tasks_corpus.SHARES.items()),
        left_out="one pair of words in five: names never meet, words are never neighbors in a list, nouns never in one "
        f"sentence; the IOI sentences {', '.join(map(str, tasks_corpus.UNSEEN))}",
        does="indirect object identification, induction and the agreement of subject and verb",
        held_out=THREE_TASKS,
        beta2=0.98,
        unmarked=0.1,
        max_positions=72,
        n_parts=3,
    ),
}


def train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of the corpus, in which every word after a space is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MAX_TOKENS,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = corpus.sentences(recipe.tokenizer_texts, recipe.tokenizer_seed, recipe.text)
    if recipe.bare_words:
        texts += 2 * [*NAMES, *PLACES, *OBJECTS]
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=BOS,
        model_max_length=recipe.max_positions,
        clean_up_tokenization_spaces=False,
    )
