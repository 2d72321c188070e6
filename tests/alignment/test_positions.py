"""Where two tokenizers have read the same, how a corpus is split, and prompts in another model's tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.alignment.corpora import TaskPrompts
from ioi_lab.alignment.positions import HELD_OUT, SharedPiece, Split, activations_of, chunks_of, in_other_model
from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.tasks.text import pieces_of
from ioi_lab.tasks.tokens import Tokens
from tests.alignment.conftest import tiny_english
from tests.conftest import hugging_face, ioi_task


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet="abcdefghijkl Mary John é—.,\n", min_size=1, max_size=80))
def test_shared_positions_have_read_the_same_characters(text):
    from ioi_lab.models.loading import load_model
    from ioi_lab.tiny import tiny_folder
    from tests.conftest import model_config

    models = tuple(load_model(model_config(tiny_folder(name), name=name)) for name in ("tiny-gpt2", "tiny-pythia"))
    shared = SharedPiece.of(text, models, 0, 1, last=False)
    read = []
    for model, ids, places in zip(models, shared.ids, shared.places, strict=True):
        assert 0 not in places  # BOS
        read.append([model.tokens.tokenizer.decode(ids[1 : place + 1]) for place in places])
    assert read[0] == read[1]
    assert all(text.startswith(part) or "\ufffd" in part for part in read[0])
    if all(len(model.tokens.encode(text)) <= model.shape.n_ctx for model in models):
        assert read[0][-1:] in ([text], [])
        assert SharedPiece.of(text, models, 0, 1, last=True).places == tuple(places[-1:] for places in shared.places)


def test_the_split_is_by_text():
    split = Split(held_out=0.25, folds=4, seed=0)
    folds = [split.fold(f"text {number}") for number in range(4000)]
    assert folds == [split.fold(f"text {number}") for number in range(4000)]
    assert folds.count(HELD_OUT) / 4000 == pytest.approx(0.25, abs=0.03)
    assert all(folds.count(fold) / 3000 == pytest.approx(0.25, abs=0.03) for fold in range(4))
    assert [Split(0.25, 4, seed=1).fold(f"text {number}") for number in range(100)] != folds[:100]


def test_all_pieces_of_a_text_are_on_one_side(both):
    words = " ".join(f"Mary went to the store and John gave a ring to number {n}" for n in range(20))
    pieces = pieces_of(words)
    assert len(pieces) > 1
    assert " ".join(pieces) == words
    (chunk,) = chunks_of([words], both, Split(0.5, 2, seed=0))
    assert len(chunk.pieces) == len(pieces)
    assert len({piece.fold for piece in chunk.pieces}) == 1


def test_from_the_end_of_a_chunk_the_same_chunks_follow(both):
    texts = list(tiny_english(600).texts(both[0].tokens))
    split = Split(0.2, 3, seed=0)
    chunks = list(chunks_of(texts, both, split))
    assert len(chunks) > 2
    assert chunks[-1].texts_read == 600
    assert list(chunks_of(texts, both, split, start=chunks[0].texts_read)) == chunks[1:]


def test_activations_are_those_of_the_plain_model(both, folders):
    (chunk,) = chunks_of(tiny_english(5).texts(both[0].tokens), both, Split(0.2, 2, seed=0))
    for side, model in enumerate(both):
        plain = hugging_face(folders[model.shape.name])
        got = activations_of(model, chunk, side, [Site("resid_pre", 0), Site("resid_pre", 2)], "auto")
        expected = []
        for piece in chunk.pieces:
            with torch.no_grad():
                states = plain(torch.tensor([piece.ids[side]]), output_hidden_states=True).hidden_states
            expected += [torch.stack([states[0][0, place], states[2][0, place]]) for place in piece.places[side]]
        assert got.dtype == torch.float64
        assert np.abs(got.numpy() - torch.stack(expected).numpy()).max() < 1e-4


def test_a_prompt_is_the_same_in_another_models_tokens(both):
    own, other = (model.tokens for model in both)
    for pair in ioi_task(n=16).prompt_pairs(own):
        moved = in_other_model(pair, own, other)
        assert moved is not None
        assert (moved.clean, moved.corrupted, moved.answer, moved.distractor) == (
            pair.clean, pair.corrupted, pair.answer, pair.distractor
        )  # fmt: skip
        assert moved.labels.keys() == pair.labels.keys()
        for label in ("IO", "S1", "S2"):
            assert moved.token_strings[moved.labels[label]] == pair.token_strings[pair.labels[label]]
        assert in_other_model(moved, other, own) == pair


def test_a_prompt_that_the_other_model_cannot_read_is_none(both):
    own, other = (model.tokens for model in both)
    (pair, *_) = ioi_task(n=1).prompt_pairs(own)

    class Blind(Tokens):
        def single(self, text: str) -> int | None:
            return None

    assert in_other_model(pair, own, Blind(other.tokenizer, other.prepend_bos)) is None


def test_a_tokenizer_without_offsets_is_reported(both):
    class Slow:
        is_fast = False
        bos_token_id = 0

    with pytest.raises(LabError, match="cannot map tokens to characters"):
        Tokens(Slow(), prepend_bos=True).encode_with_ends("text")


def test_labelled_positions_alone(both):
    task = {"_target_": "ioi_lab.tasks.ioi.IOITask", **ioi_task(n=6).model_dump()}
    texts = list(TaskPrompts(name="task", task=task).labelled_texts(both[0].tokens))
    (chunk,) = chunks_of(texts, both, Split(0.2, 2, seed=0))
    pairs = ioi_task(n=6).prompt_pairs(both[0].tokens)
    assert len(chunk.pieces) == 12
    for pair, piece in zip([pair for pair in pairs for _ in range(2)], chunk.pieces, strict=True):
        assert piece.places[0] == tuple(sorted({place for label, place in pair.labels.items() if label != "BOS"}))
    with pytest.raises(LabError, match="tiny english have no labels"):
        tiny_english().labelled_texts(both[0].tokens)
