"""Fixtures for planted circuits."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoTokenizer

from ioi_lab.tiny import tiny_folder
from ioi_lab.tiny.planting import planted_network


@pytest.fixture(scope="package")
def tokenizer():
    return AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))


@pytest.fixture(scope="package")
def untrained(tokenizer):
    """An untrained planted network in which every parameter does something, biases too."""
    torch.manual_seed(3)
    network = planted_network(tokenizer, "planted-plain").eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return network


@pytest.fixture
def restored_torch():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
