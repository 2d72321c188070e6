from __future__ import annotations

import psutil
import pytest
import torch

from ioi_lab.engine.edits import Site
from ioi_lab.engine.memory import Footprint, bound_in_bytes, in_gb
from tests.engine.toy import SHAPE

CPU = torch.device("cpu")
FOOTPRINT = Footprint(SHAPE, d_mlp=48, d_vocab=100, bytes_per_number=4)


def test_the_bound_is_in_units_of_a_billion_bytes():
    assert bound_in_bytes(0.5, CPU) == 5e8


def test_auto_is_a_quarter_of_the_free_memory_or_most_of_a_card(monkeypatch):
    class Memory:
        available = 8_000

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1_000, 9_999))
    assert bound_in_bytes("auto", CPU) == 2_000
    assert bound_in_bytes("auto", torch.device("cuda")) == pytest.approx(800)


@pytest.mark.parametrize("needed", [1, 123_456, 1.0049e9, 1.005e9, 9.994e9, 9.996e9, 123.456e9, 999.4e9])
def test_the_amount_that_a_message_names_is_enough(needed):
    assert needed <= float(in_gb(needed)) * 1e9 <= 1.02 * needed


def test_recorded_bytes_are_those_of_the_tensors():
    length, sites = 5, [Site("resid_pre", 0), Site("z", 1), Site("k", 1), Site("pattern", 2)]
    tensors = [torch.zeros(length, 12), torch.zeros(length, 4, 3), torch.zeros(length, 2, 3), torch.zeros(length, 4, 5)]
    keys_and_values = [torch.zeros(2, length, 3) for _ in range(2 * 3)]  # [kv_head, pos, d_head], of 3 layers
    expected = sum(tensor.nbytes for tensor in tensors + keys_and_values)
    assert FOOTPRINT.recorded_row(sites, 3, length) == expected


def test_a_batch_needs_its_largest_step():
    """1.5 times the stream with the wider of attention and MLP, or the logits of the vocabulary."""
    n, length = 2, 5
    attention = 4 * n * 12 + 2 * length * (6 + 12) + 4 * 4 * n * length
    mlp = 5 * 48 * n
    assert mlp > attention
    assert FOOTPRINT.batch_row(n, length, vocabulary=False) == 1.5 * 4 * (4 * 12 * n + mlp)
    narrow = Footprint(SHAPE, d_mlp=1, d_vocab=100, bytes_per_number=4)
    assert narrow.batch_row(n, length, vocabulary=False) == 1.5 * 4 * (4 * 12 * n + attention)
    wide = Footprint(SHAPE, d_mlp=1, d_vocab=10_000, bytes_per_number=2)
    assert wide.batch_row(n, length, vocabulary=True) == 1.5 * 4 * 4 * 10_000


def test_gradients_keep_every_layer():
    assert FOOTPRINT.backward_row(5) > SHAPE.n_layers * FOOTPRINT.batch_row(5, 5, vocabulary=False)
