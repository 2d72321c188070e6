"""The map with a hidden layer."""

from __future__ import annotations

import torch

from ioi_lab.alignment.nonlinear import MlpMap


def test_it_is_torchs_network_and_differences_need_a_point():
    layers = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)
    found = MlpMap(layers[0].weight.T, layers[0].bias, layers[1].weight.T, layers[1].bias)
    x, vector = torch.randn(5, 4), torch.randn(4)
    assert torch.allclose(found(x), torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])(x), atol=1e-6)
    changes = found.difference(vector, x)
    assert torch.allclose(changes, found(x + vector) - found(x))
    assert not torch.allclose(changes[0], changes[1], atol=1e-3)
    assert (found.size, found.d_out) == (4 * 6 + 6 + 6 * 3 + 3, 3)
