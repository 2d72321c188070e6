"""Norms with a held scale, against torch's own and their derivatives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ioi_lab.lenses.held_norms import HeldNorm


def bridge_of(module, *, offset=False):
    """What `HeldNorm` reads of TransformerBridge's norms."""
    return SimpleNamespace(
        original_component=module,
        uses_rms_norm=isinstance(module, nn.RMSNorm),
        uses_weight_offset=offset,
        config=SimpleNamespace(eps=1e-3),
    )


@pytest.fixture(params=["LayerNorm", "RMSNorm", "RMSNorm without weight"])
def module(request):
    torch.manual_seed(0)
    kind, *without = request.param.split(" ")
    norm = getattr(nn, kind)(6, eps=1e-3, elementwise_affine=not without)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm.requires_grad_(False)


def test_it_is_the_norm_at_its_own_input_and_affine_elsewhere(module):
    stream, other = torch.randn(4, 6), torch.randn(4, 6)
    held = HeldNorm.at(bridge_of(module), stream)
    assert held(stream) == pytest.approx(module(stream), abs=1e-5)
    between = held((stream + other) / 2)
    assert between == pytest.approx((held(stream) + held(other)) / 2, abs=1e-5)
    assert between != pytest.approx(module((stream + other) / 2), abs=1e-2)


def test_directions_are_pulled_back_through_it(module):
    stream, other, direction = torch.randn(4, 6), torch.randn(4, 6), torch.randn(4, 6)
    held = HeldNorm.at(bridge_of(module), stream)
    written = (held(other) * direction).sum(-1)
    assert (other * held.pulled_back(direction)).sum(-1) + held.constant(direction) == pytest.approx(written, abs=1e-5)


def test_weights_may_be_offsets_from_one():
    norm = nn.RMSNorm(6, eps=1e-6).requires_grad_(False)
    nn.init.zeros_(norm.weight)
    stream = torch.randn(2, 6)
    expected = nn.RMSNorm(6, eps=1e-6, elementwise_affine=False)(stream)
    assert HeldNorm.at(bridge_of(norm, offset=True), stream)(stream) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("absent", [None, SimpleNamespace(original_component=None), bridge_of(nn.Identity())])
def test_a_model_may_have_none(absent):
    assert HeldNorm.at(absent, torch.randn(2, 6)) is None
