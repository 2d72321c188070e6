from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.text import (
    LENGTH,
    MAX_PIECE_WORDS,
    MIN_PASSAGE,
    TEXTS,
    default_text,
    passages,
    pieces_of,
    text_pieces,
)
from ioi_lab.tiny import tiny_folder
from ioi_lab.tiny.corpus import sentences
from tests.conftest import model_config

KEY = "intervention.text"


@pytest.fixture(scope="module")
def tiny():
    return load_model(model_config(tiny_folder("tiny-pythia")))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "corpus.txt"
    file.write_text(" ".join(sentences(300, seed=5)))
    return file


def test_text_is_cut_into_pieces_of_one_length(tiny, text):
    pieces = text_pieces(tiny, text, KEY, 10_000)
    assert {len(piece) for piece in pieces} == {min(LENGTH, tiny.shape.n_ctx)}
    bos = tiny.tokens.tokenizer.bos_token_id
    ids = [token for piece in pieces for token in piece.clean_tokens[1:]]
    assert all(piece.clean_tokens[0] == bos for piece in pieces)
    assert ids == list(tiny.tokens.encode(text.read_text())[1 : len(ids) + 1])


def test_passages_are_paragraphs(tiny, tmp_path):
    file = tmp_path / "text.txt"
    paragraphs = sentences(30, seed=1)
    wrapped = [paragraph.replace(" the ", "\nthe ", 1) for paragraph in paragraphs]
    file.write_text("\n \n".join(wrapped))
    expected = [ids for ids in map(tiny.tokens.encode, paragraphs) if len(ids) > MIN_PASSAGE]
    assert [piece.clean_tokens for piece in passages(tiny, file, KEY, 10_000)] == expected


def test_long_paragraphs_are_cut_and_no_more_is_read_than_asked_for(tiny, text):
    pieces = passages(tiny, text, KEY, 1000)
    length = min(LENGTH, tiny.shape.n_ctx)
    assert [len(piece) for piece in pieces] == [length] * (1000 // length)
    ids = [token for piece in pieces for token in piece.clean_tokens[1:]]
    assert ids == list(tiny.tokens.encode(text.read_text())[1 : len(ids) + 1])


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (text_pieces, r"short\.txt' has \d\d tokens for .*, too short to train on; at least \d+ are needed"),
        (passages, r"short\.txt' gives 1 passages of 8 to \d+ tokens for .*, too few to measure on; at least 10"),
    ],
)
def test_a_short_text_is_reported(tiny, tmp_path, cut, message):
    short = tmp_path / "short.txt"
    short.write_text("When John and Mary went to the store, John gave a drink to Mary.")
    with pytest.raises(LabError, match=message):
        cut(tiny, short, KEY, 1000)
    short.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabError, match=r"intervention\.text: '.*' is not UTF-16 text"):
        cut(tiny, short, KEY, 1000)


def test_a_text_is_packaged_for_every_model(tiny):
    assert default_text(tiny) == TEXTS / "neutral.txt"  # loaded as somebody's folder
    named = load_model(model_config("tiny-gpt2", source="tiny", name="tiny-gpt2"))
    assert default_text(named) == TEXTS / "tiny_english.txt"
    for text in TEXTS.glob("*.txt"):
        assert len(passages(named, text, KEY, 1024)) > 10


def test_a_long_text_comes_in_pieces_of_whole_words():
    words = [f"w{index}" for index in range(95)]
    spaced = "  ".join(words[:50]) + "\n" + " ".join(words[50:])
    pieces = pieces_of(spaced)
    assert [len(piece.split()) for piece in pieces] == [MAX_PIECE_WORDS, MAX_PIECE_WORDS, 15]
    assert [word for piece in pieces for word in piece.split()] == words
    assert all(piece in spaced for piece in pieces)
    assert pieces_of("") == []
