"""Passes with parts of a circuit."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.tiny.ioi_batches import IOISampler
from ioi_lab.tiny.masked import edges_of
from ioi_lab.tiny.passes import Passes, faithfulness
from ioi_lab.tiny.plants import PLANTS, Plant


@pytest.fixture(scope="module")
def batch(tokenizer):
    return IOISampler(tokenizer, seed=0).batch(32)


@torch.no_grad()
def test_cuts_take_their_edges_away(untrained, batch):
    passes = Passes.of(untrained, batch, PLANTS["planted-or"])
    cut = [edge for edge in passes.plant.edges if edge != "a1.h2->a2.h0<q>"]
    torch.testing.assert_close(passes.without("first route"), passes.logits(cut))
    torch.testing.assert_close(passes.without(), passes.circuit)
    assert not torch.equal(passes.circuit, passes.logits(cut))


@torch.no_grad()
def test_the_logit_difference_and_the_entropy_are_those_of_the_names(untrained, batch):
    passes = Passes.of(untrained, batch, PLANTS["planted-plain"])
    logits = passes.circuit
    expected = [row[a] - row[d] for row, a, d in zip(logits, batch.answer, batch.distractor, strict=True)]
    torch.testing.assert_close(passes.logit_diff(logits), torch.stack(expected))
    chosen = logits.log_softmax(-1)[torch.arange(32), batch.answer]
    torch.testing.assert_close(passes.cross_entropy(logits), -chosen.mean())
    torch.testing.assert_close(passes.neutral_cross_entropy(logits), -chosen[batch.neutral].mean())
    torch.testing.assert_close(passes.neutral_mean(chosen), chosen[batch.neutral].mean())


@torch.no_grad()
def test_all_edges_agree_with_the_plain_pass_and_others_do_not(untrained, batch):
    everything = Plant("all", 3, {}, tuple(edges_of(untrained)))
    assert Passes.of(untrained, batch, everything).disagreement() < 1e-4
    assert Passes.of(untrained, batch, PLANTS["planted-plain"]).disagreement() > 1e-2


def test_all_edges_have_a_faithfulness_of_1_and_the_rest_of_0(untrained, batch):
    everything = Plant("all", 3, {}, tuple(edges_of(untrained)), cuts={"everything": tuple(edges_of(untrained))})
    found = faithfulness(Passes.of(untrained, batch, everything))
    assert found["circuit"] == pytest.approx(1, abs=1e-3)
    assert found["rest"] == found["without everything"] == pytest.approx(0, abs=1e-3)
