"""Tokenizers of every kind: what they put in front of a text must not change the answer, nor the text of a token."""

from __future__ import annotations

from functools import cache

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.prompts import PromptPair
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny.corpus import sentences

SPECIAL = ["<unk>", "<s>"]
PROMPT = "When John and Mary went to the store, John gave a drink to"


def metaspace(scheme):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return tokenizer, trainers.BpeTrainer(vocab_size=1000, special_tokens=SPECIAL)


def unsplit():
    """Llama 2 as it is published now: merges may cross words."""
    tokenizer, trainer = metaspace("first")
    return tokenizer, trainer, as_unsplit


def as_unsplit(trained):
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)


def legacy():
    """Llama 2 as it was first published: the normalizer puts "▁" in front of everything, spaces included."""
    tokenizer, trainer = metaspace("always")
    return tokenizer, trainer, as_legacy


def as_legacy(trained):
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trained.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return tokenizer, trainers.UnigramTrainer(vocab_size=600, special_tokens=SPECIAL, unk_token="<unk>")


def byte_level(*, add_prefix_space):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(vocab_size=1250, special_tokens=SPECIAL, initial_alphabet=alphabet)


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return tokenizer, trainers.WordPieceTrainer(vocab_size=900, special_tokens=SPECIAL)


KINDS = {
    "metaspace, always": lambda: metaspace("always"),
    "metaspace, first": lambda: metaspace("first"),
    "metaspace, first, unsplit": unsplit,
    "metaspace, never": lambda: metaspace("never"),
    "legacy": legacy,
    "unigram": unigram,
    "byte level": lambda: byte_level(add_prefix_space=False),
    "byte level, prefix space": lambda: byte_level(add_prefix_space=True),
    "word piece": word_piece,
}
PREFIXED = [kind for kind in KINDS if kind not in ("metaspace, never", "byte level")]
"""The kinds to which the first word of a text is a word like any other."""


@cache
def tokenizer_of(kind):
    tokenizer, trainer, *changes = KINDS[kind]()
    tokenizer.train_from_iterator(sentences(1000, seed=1), trainer)
    for change in changes:
        change(tokenizer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["bos", "no bos"])
def tokens(request, kind):
    return Tokens(tokenizer_of(kind), prepend_bos=request.param)


def test_the_answer_is_the_token_that_continues_the_prompt(tokens):
    for name in ("Mary", "John"):
        mary = tokens.single(f" {name}")
        assert mary is not None
        assert tokens.encode(f"{PROMPT} {name}") == (*tokens.encode(PROMPT), mary)
    assert tokens.single(" John Mary") is None
    assert tokens.single(" ") is None or tokens.strings((tokens.single(" "),)) == (" ",)
    assert tokens.single("") is None


@pytest.mark.parametrize("kind", PREFIXED)
def test_a_missing_space_does_not_matter_to_a_tokenizer_that_adds_it(tokens):
    assert tokens.single("Mary") == tokens.single(" Mary") != tokens.single(" John")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in PREFIXED])
def test_a_missing_space_matters_to_other_tokenizers(tokens):
    assert tokens.single("Mary") != tokens.single(" Mary")


def test_the_texts_of_tokens_are_the_text(tokens, kind):
    ids = tokens.encode(PROMPT)
    text = PROMPT.replace(",", " ,") if kind == "word piece" else PROMPT  # spaces are lost
    assert tokens.text(ids) == text
    assert tokens.encode(tokens.text(ids)) == ids
    assert tokens.strings((tokens.single(" Mary"),)) == (" Mary",)
    if tokens.prepend_bos:
        assert tokens.strings(ids)[0] == "<s>"


def test_tokens_end_where_their_text_ends(tokens):
    ids, ends = tokens.encode_with_ends(PROMPT)
    assert ids == tokens.encode(PROMPT)
    assert ends[-1] == len(PROMPT)
    assert PROMPT[: ends[list(ids).index(tokens.single(" Mary"))]].endswith("and Mary")


def test_prompts_are_made_with_every_kind(tokens):
    pairs = IOITask(n=4).prompt_pairs(tokens)
    for pair in pairs:
        assert tokens.encode(pair.clean + pair.answer) == (*pair.clean_tokens, pair.answer_id)
        assert pair.token_strings[pair.labels["IO"]] == pair.answer
        assert pair.token_strings[pair.labels["S2"]] == pair.distractor
    own = PromptPair.build(tokens, PROMPT, PROMPT.replace("John gave", "Mary gave"), " Mary", " John")
    assert (own.answer_id, own.distractor_id) == (tokens.single(" Mary"), tokens.single(" John"))
