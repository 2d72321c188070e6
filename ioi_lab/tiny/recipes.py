"""The recipes of the tiny models: architecture, tokenizer and training settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES
from ioi_lab.tiny.corpus import sentences

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
    batch_size: int = 128
    tokenizer_sentences: int = 20_000


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
    text = sentences(recipe.tokenizer_sentences, recipe.tokenizer_seed)
    if recipe.bare_words:
        text += 2 * [*NAMES, *PLACES, *OBJECTS]
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=BOS,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
