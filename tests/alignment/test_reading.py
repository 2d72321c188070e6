"""Reading a corpus: checkpoints, and corpora that are too small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ioi_lab.alignment import reading
from ioi_lab.alignment.corpora import TextFile
from ioi_lab.alignment.positions import Split, chunks_of
from ioi_lab.errors import LabError
from ioi_lab.tasks.tokens import Tokens
from tests.alignment.conftest import (
    aligned,
    alignment_config,
    interrupt_at_third_chunk,
    tiny_english,
    write_every_checkpoint,
)


@pytest.mark.long
def test_an_interrupted_fit_goes_on_to_the_same_maps(both, tmp_path, monkeypatch):
    config, corpus = alignment_config(source_layers=[3], target_layers=[1, 3]), tiny_english(500)
    expected = aligned(both, config, corpus)
    checkpoint = tmp_path / reading.CHECKPOINT
    chunks = interrupt_at_third_chunk(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        aligned(both, config, corpus, checkpoint=checkpoint)
    found = aligned(both, config, corpus, resume=checkpoint)
    all_texts = len(list(chunks_of(corpus.texts(both[0].tokens), both, Split(0.2, 3, 0))))
    assert len(chunks) == 3 + (all_texts - 2) + all_texts  # the chunks that were read are not read again to fit on
    assert (found.n_positions, found.n_held_out_texts) == (expected.n_positions, expected.n_held_out_texts)
    for pair in expected.forward:
        assert torch.equal(found.forward[pair].map.matrix, expected.forward[pair].map.matrix)
        assert torch.equal(found.forward[pair].shuffled.matrix, expected.forward[pair].shuffled.matrix)
        assert np.array_equal(found.backward_errors[pair[::-1]].map, expected.backward_errors[pair[::-1]].map)


def test_a_checkpoint_of_another_fit_is_refused(both, tmp_path, monkeypatch):
    write_every_checkpoint(monkeypatch)
    checkpoint = tmp_path / reading.CHECKPOINT
    config = alignment_config(source_layers=3, target_layers=3)
    aligned(both, config, tiny_english(100), checkpoint=checkpoint)
    with pytest.raises(LabError, match=r"resume_from: .*: corpus is .*'n': 100.* there, .*'n': 120.* here"):
        aligned(both, config, tiny_english(120), resume=checkpoint)
    other = alignment_config(source_layers=3, target_layers=3, folds=4)
    with pytest.raises(LabError, match=r"alignment\.folds is 3 there, 4 here"):
        aligned(both, other, tiny_english(100), resume=checkpoint)
    checkpoint.write_bytes(b"damaged")
    with pytest.raises(LabError, match="resume_from: cannot read"):
        aligned(both, config, tiny_english(100), resume=checkpoint)


@pytest.mark.parametrize(
    ("text", "config", "line"),
    [
        ("Mary\n", {}, r"corpus: .* has 1 texts; expected 20 or more"),
        (
            "Mary went home.\n" * 40,
            {},
            r"alignment\.folds: got 3, but with 40 texts a fold or",
        ),
        ("", {}, "there is nothing to align"),
    ],
)
def test_a_corpus_that_is_too_small_is_reported(both, tmp_path, text, config, line):
    (tmp_path / "text.txt").write_text(text)
    corpus = TextFile(name="text", path=str(tmp_path / "text.txt"), unit="line", n="all")
    with pytest.raises(LabError, match=line):
        aligned(both, alignment_config(**config), corpus)


def test_models_whose_tokens_never_end_together_are_reported(both):
    class Elsewhere(Tokens):
        def encode_with_ends(self, text):
            ids, ends = super().encode_with_ends(text)
            return ids, tuple(end and end + 1000 for end in ends)

    other = replace(both[1], tokens=Elsewhere(both[1].tokens.tokenizer, both[1].tokens.prepend_bos))
    with pytest.raises(LabError, match="corpus: no token of tiny-gpt2 ends at the same character as one of"):
        aligned((both[0], other), alignment_config(), tiny_english(30))
