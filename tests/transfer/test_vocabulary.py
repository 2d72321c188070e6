"""Directions through a vocabulary: what is read, what is shared, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.transfer.vocabulary import SharedVocabulary, token_readout, unembedding_rows
from tests.conftest import hugging_face, ioi_task


def test_shared_tokens_stand_for_the_same_text(both):
    first, second = (model.tokens for model in both)
    shared = SharedVocabulary.of(first, second)
    assert len(shared.source) == len(set(shared.source.tolist())) == len(set(shared.target.tolist())) > 500
    for one, other in zip(shared.source, shared.target, strict=True):
        assert first.strings((int(one),)) == second.strings((int(other),))
    assert first.single(" Mary") in shared.source
    assert not set(shared.source.tolist()) & set(first.tokenizer.all_special_ids)


def test_vocabularies_without_a_token_in_common_are_reported(both):
    class Strange:
        tokenizer = both[0].tokens.tokenizer

        def strings(self, ids):
            return tuple(f"<{token}>" for token in ids)

    with pytest.raises(LabError, match="shares no token"):
        SharedVocabulary.of(Strange(), both[1].tokens)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-pythia"])
def test_the_readout_of_a_small_step_is_the_models_own(both, name):
    """The derivative of logits − mean logit along a direction that leaves the norm's scale, at the mean activation."""
    model = next(model for model in both if model.shape.name == name)
    engine = Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))
    read = token_readout(engine)
    last = Site("resid_post", model.shape.n_layers - 1, None, "END")
    mean = np.mean([activations_at(engine, run, [last])[last].mean(axis=0) for run in ("clean", "corrupted")], axis=0)
    centred = mean - mean.mean()
    direction = np.random.default_rng(0).standard_normal(len(mean))
    direction -= direction.mean()
    direction -= centred * (centred @ direction) / (centred @ centred)
    step = 1e-2 * direction
    with torch.no_grad():
        logits = [
            model.bridge.unembed(model.bridge.ln_final(torch.from_numpy(stream).float()[None, None]))[0, 0].double()
            for stream in (mean + step, mean - step)
        ]
    change = ((logits[0] - logits[1]) / 2).numpy()[: len(read)]
    assert read @ step == pytest.approx(change - change.mean(), abs=5e-4)
    assert np.abs(read @ step).max() > 0.1


def test_sentencepiece_and_byte_level_tokens_match_by_their_text():
    """`▁Mary` and `ĠMary` are both " Mary"; "Mary" at the start of a text is another token."""
    words = ["a", "Mary", "John"]
    pieces = models.WordLevel(
        {token: i for i, token in enumerate([f"▁{word}" for word in words] + words + ["<s>"])}, "<s>"
    )
    sentence_piece = Tokenizer(pieces)
    sentence_piece.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    sentence_piece.decoder = decoders.Metaspace(prepend_scheme="never")
    byte_level = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(["<s>", *words, *(f"Ġ{word}" for word in words)])}, "<s>")
    )
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    first, second = (
        Tokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>"), False)
        for tokenizer in (sentence_piece, byte_level)
    )
    shared = SharedVocabulary.of(first, second)
    pairs = {
        (first.tokenizer.convert_ids_to_tokens(int(one)), second.tokenizer.convert_ids_to_tokens(int(other)))
        for one, other in zip(shared.source, shared.target, strict=True)
    }
    assert pairs == {(f"▁{word}", f"Ġ{word}") for word in words} | {(word, word) for word in words}


def test_unembedding_rows_are_the_models_weights(both, folders):
    for model in both:
        plain = hugging_face(folders[model.shape.name]).get_output_embeddings().weight.detach().double().numpy()
        assert unembedding_rows(model) == pytest.approx(plain[: len(model.tokens.tokenizer)])
