"""Readouts against numpy, and the sites at which activations stop being finite."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from tests.conftest import hugging_face, ioi_task
from tests.engine.helpers import other_model


@pytest.mark.parametrize("readout", ["full", "logit_diff"])
def test_the_first_site_that_is_not_finite_is_named(setups, readout):
    model, _, prompts = setups["tiny-gpt2"]
    explosion = Edit(Site("mlp_out", 1), "add", torch.full((model.shape.d_model,), torch.inf))
    with pytest.raises(
        LabError, match=r"not finite in an edited clean pass of .*: first mlp_out of layer 1, prompt 'W"
    ):
        Engine(model, prompts, readout=readout).run([(), (explosion,)], "clean", progress=False)


def test_logits_of_other_tokens_that_are_not_finite_are_reported(folders, tmp_path):
    plain = hugging_face(folders["tiny-gpt2"])
    plain.config.tie_word_embeddings = False
    plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.clone())
    plain.lm_head.weight.data[5] = torch.inf
    model, _ = other_model(folders["tiny-gpt2"], tmp_path, plain)
    prompts = ioi_task(n=2).prompt_pairs(model.tokens)
    with pytest.raises(LabError, match="not finite in the clean pass of other: the logits"):
        Engine(model, prompts).baseline("clean")
