"""The training of planted circuits. What whole trainings give is on the cards, and measured in `test_plant.py`."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.tiny import planting
from ioi_lab.tiny.ioi_batches import IOISampler
from ioi_lab.tiny.passes import Passes
from ioi_lab.tiny.planting import fit, planted_network
from ioi_lab.tiny.plants import PLANTS


@pytest.fixture
def smaller_batches(monkeypatch):
    monkeypatch.setattr(planting, "BATCH_SIZE", 32)


def loss(network, tokenizer, name):
    with torch.no_grad():
        passes = Passes.of(network.eval(), IOISampler(tokenizer, seed=9).batch(64), PLANTS[name])
        return float(planting.loss_of(passes, name))


@pytest.mark.parametrize("name", PLANTS)
def test_a_few_steps_lower_the_loss(name, tokenizer, smaller_batches):
    torch.manual_seed(0)
    network = planted_network(tokenizer, name)
    before = loss(network, tokenizer, name)
    fit(network, tokenizer, name, seed=0, steps=12)
    assert loss(network, tokenizer, name) < before - 0.4


@torch.no_grad()
def test_heads_start_near_their_roles(tokenizer):
    """Before any training, the head of the duplicates attends to the same name, and the mover copies names."""
    torch.manual_seed(0)
    network = planted_network(tokenizer, "planted-plain")
    network.set_attn_implementation("eager")
    batch = IOISampler(tokenizer, seed=0).batch(32)
    attention = network(batch.tokens, output_attentions=True).attentions[0][:, 1]
    rows, second, first = [], [], []
    for row, tokens in enumerate(batch.tokens.tolist()):
        places = [place for place, token in enumerate(tokens) if token == batch.distractor[row]]
        rows.append(row)
        first.append(places[0])
        second.append(places[1])
    weights = attention[rows, second, first] + attention[rows, second, second]
    assert weights.mean() > 0.9
    block = network.transformer.h[2].attn
    names = network.transformer.wte.weight[batch.answer.unique()]
    copied = names @ block.c_attn.weight[:, 2 * 64 : 2 * 64 + 16] @ block.c_proj.weight[:16] @ names.T
    assert (copied.argmax(-1) == torch.arange(len(names))).float().mean() > 0.9
