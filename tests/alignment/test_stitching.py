"""Stitched models against plain Hugging Face passes with hooks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.alignment.stitching import NO_TOKEN, StitchBatch, kl_from_own, log_probs, pieces_by_length
from ioi_lab.alignment.text_activations import read_pieces
from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from tests.alignment.conftest import alignment_config, tiny_english
from tests.conftest import hugging_face


@pytest.fixture
def some_pieces(both):
    config = alignment_config(source_layers=[1], target_layers=[2])
    pairing = Pairing.of(config, both, "auto")
    return read_pieces(Reader(pairing, tiny_english(30), config, 0), pairing, 6, "n", held_out=False)


def replaced_by_hand(plain, ids, layer, component, places, values):
    """The log-probabilities of a plain pass whose stream after or before a block is replaced at some places."""

    def write(stream):
        stream = stream.clone()
        stream[0, list(places)] = values
        return stream

    block = plain.gpt_neox.layers[layer]
    if component == "resid_post":
        handle = block.register_forward_hook(
            lambda module, inputs, out: (write(out[0]), *out[1:]) if isinstance(out, tuple) else write(out)
        )
    else:
        handle = block.register_forward_pre_hook(lambda module, inputs: (write(inputs[0]), *inputs[1:]))
    with torch.no_grad(), handle:
        return plain(torch.tensor([ids])).logits[0].log_softmax(-1)


@pytest.mark.parametrize(
    ("component", "layer"), [("resid_post", 1), ("resid_post", 3), ("resid_pre", 0), ("resid_pre", 2)]
)
def test_they_are_plain_passes_with_the_stream_replaced(both, folders, some_pieces, component, layer):
    plain = hugging_face(folders["tiny-pythia"])
    generator = torch.Generator().manual_seed(0)
    for group in pieces_by_length(some_pieces, 1, 2, both[1], "auto"):
        batch = StitchBatch.of(group, 1, 0, both[1].device)
        values = torch.randn(len(batch), both[1].shape.d_model, generator=generator)
        got = log_probs(both[1], Site(component, layer), batch, values)
        own = log_probs(both[1], Site(component, layer), batch, None)
        start = 0
        for each in group:
            ids, places = each.piece.ids[1], each.piece.places[1]
            rows = slice(start, start + len(places))
            expected = replaced_by_hand(plain, ids, layer, component, places, values[rows])
            assert torch.allclose(got[rows], expected[list(places)], atol=1e-4)
            with torch.no_grad():
                unedited = plain(torch.tensor([ids])).logits[0].log_softmax(-1)
            assert torch.allclose(own[rows], unedited[list(places)], atol=1e-4)
            start += len(places)


def test_predictions_are_read_at_another_place_if_the_batch_says_so(both, some_pieces):
    (group, *_) = pieces_by_length(some_pieces, 1, 2, both[1], "auto")
    batch, site = StitchBatch.of(group, 1, 0, both[1].device), Site("resid_post", 1)
    last = batch.tokens.shape[1] - 1
    elsewhere = replace(batch, read_places=torch.full_like(batch.places, last))
    at_end = replace(batch, places=torch.full_like(batch.places, last))
    assert torch.equal(log_probs(both[1], site, elsewhere, None), log_probs(both[1], site, at_end, None))
    values = torch.zeros(len(batch), both[1].shape.d_model)
    whole = log_probs(both[1], site, batch, values)
    is_last = batch.places == last
    assert is_last.any()
    assert torch.allclose(log_probs(both[1], site, elsewhere, values)[is_last], whole[is_last], atol=1e-5)


def test_a_batch_has_the_tokens_that_follow(both, some_pieces):
    (group, *_) = pieces_by_length(some_pieces, 0, 1, both[0], "auto")
    batch = StitchBatch.of(group, 0, 0, both[0].device)
    (each,) = group
    ids, places = each.piece.ids[0], each.piece.places[0]
    assert batch.next_tokens.tolist() == [ids[place + 1] if place + 1 < len(ids) else NO_TOKEN for place in places]
    assert torch.equal(batch.x, each.activations[1][:, 0])  # into the first model come activations of the second
    assert set(batch.texts.tolist()) == {each.piece.text}


def test_pieces_come_by_length_within_the_bound(both, some_pieces):
    groups = list(pieces_by_length(some_pieces, 1, 3, both[1], "auto"))
    assert sorted(map(id, (each for group in groups for each in group))) == sorted(map(id, some_pieces))
    assert all(len({len(each.piece.ids[1]) for each in group}) == 1 and len(group) <= 3 for group in groups)
    with pytest.raises(LabError, match=r"engine\.memory_gb: got 1e-05, but a stitched pass over one text of"):
        list(pieces_by_length(some_pieces, 1, 3, both[1], 1e-5))


def test_the_kl_is_that_of_torch():
    own, other = (torch.randn(4, 9, generator=torch.Generator().manual_seed(n)).log_softmax(-1) for n in (0, 1))
    expected = torch.nn.functional.kl_div(other, own, log_target=True, reduction="none").sum(-1)
    assert torch.allclose(kl_from_own(own, other), expected)
