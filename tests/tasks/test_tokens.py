"""Text and tokens, against the tokenizer itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

from ioi_lab.errors import LabError
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder

TEXT = "When John and Mary went to the store,"


@pytest.fixture(scope="module")
def tokens():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


@pytest.fixture(scope="module")
def bare(tokens):
    return Tokens(tokens.tokenizer, prepend_bos=False)


def test_bos_that_the_tokenizer_lacks_is_reported(tokens):
    bare = PreTrainedTokenizerFast(tokenizer_object=tokens.tokenizer.backend_tokenizer)
    with pytest.raises(LabError, match=r"model\.prepend_bos: got True, but this tokenizer has no BOS"):
        Tokens(bare, prepend_bos=True)


def test_bos_comes_first_if_prompts_have_it(tokens, bare):
    assert tokens.encode(TEXT) == (tokens.tokenizer.bos_token_id, *bare.encode(TEXT))
    assert tokens.tokenizer.decode(bare.encode(TEXT)) == TEXT
    assert tokens.text(tokens.encode(TEXT)) == bare.text(bare.encode(TEXT)) == TEXT


@given(text=st.text(st.characters(codec="utf-8"), max_size=30))
@settings(deadline=None, max_examples=50)
def test_each_token_ends_where_its_text_ends(tokens, bare, text):
    """The oracle is the text itself: the characters up to a token's end are those of the tokens up to it."""
    ids, ends = tokens.encode_with_ends(text)
    assert ids == tokens.encode(text)
    assert ends[0] == 0
    assert list(ends) == sorted(ends)
    assert ends[-1] == len(text)
    for index, end in enumerate(ends):
        decoded = tokens.tokenizer.decode(list(ids[1 : index + 1]))
        if "\ufffd" not in decoded:  # the bytes of one character may be in several tokens
            assert text[:end] == decoded
    assert bare.encode_with_ends(text) == (ids[1:], ends[1:])


def test_a_slow_tokenizer_is_refused():
    class Slow(PreTrainedTokenizer):
        vocab_size = 0

        def get_vocab(self):
            return {}

    with pytest.raises(LabError, match="its tokenizer cannot map tokens to characters; a fast tokenizer is needed"):
        Tokens(Slow(), prepend_bos=False).encode_with_ends("x")


def test_single_tokens_have_their_leading_space(tokens):
    john = tokens.single(" John")
    assert tokens.strings((john,)) == (" John",)
    assert tokens.single(" John Mary") is None
    assert tokens.single("") is None
