"""Bridges of Hugging Face models."""

from __future__ import annotations

import torch
from transformers import AutoTokenizer

from ioi_lab.models.bridges import bridge_of, frozen, shape_of
from tests.conftest import hugging_face


def test_a_bridge_computes_what_its_model_does(folder):
    bridge = frozen(bridge_of(hugging_face(folder), AutoTokenizer.from_pretrained(folder), str(folder)))
    ids = torch.arange(10)[None]
    assert torch.allclose(bridge(ids), hugging_face(folder)(ids).logits, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in bridge.parameters())
    assert all(parameter.is_contiguous() for parameter in bridge.parameters())
    config = bridge.original_model.config
    shape = shape_of(bridge, "x")
    assert (shape.name, shape.n_layers, shape.d_model) == ("x", config.num_hidden_layers, config.hidden_size)
