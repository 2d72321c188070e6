"""Models and tokenizers as they are read: a faster kernel with the same numbers, and tuples for lists."""

from __future__ import annotations

import torch
from torch import nn

from ioi_lab.models.hugging_face import read_folder
from tests.conftest import hugging_face
from tests.odd_models import write_odd_model


def test_a_model_that_is_read_computes_what_hugging_face_computes(random_folders):
    folder = random_folders["gpt2"]
    model, tokenizer = read_folder(folder, torch.float32)
    tokens = torch.arange(5, 17)[None]
    with torch.no_grad():
        assert torch.allclose(model(tokens).logits, hugging_face(folder)(tokens).logits, atol=1e-4)
    assert any(isinstance(module, nn.GELU) for module in model.modules())
    assert len(tokenizer) == model.config.vocab_size


def test_blocks_return_tuples_instead_of_lists(tmp_path):
    """GPT-1's blocks return lists."""
    folder = write_odd_model("openai-gpt", tmp_path)
    returned = []
    model, _ = read_folder(folder, torch.float32)
    model.transformer.h[0].register_forward_hook(lambda block, arguments, output: returned.append(output))
    tokens = torch.arange(5, 17)[None]
    with torch.no_grad():
        assert torch.allclose(model(tokens).logits, hugging_face(folder)(tokens).logits, atol=1e-4)
    assert isinstance(returned[0], tuple)
