"""What heads add to the residual stream, against what attention adds, and layers that are refused."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.head_outputs import HeadOutputs
from ioi_lab.models.loading import load_model
from ioi_lab.steering.vectors import activations_at
from tests.conftest import ioi_task, model_config
from tests.odd_models import write_odd_model


def refuse(reason):
    raise LabError(reason)


@pytest.fixture(scope="module", params=["gemma3", "granite"])
def layer(request, tmp_path_factory):
    """A model, and z and attn_out of its layer 1 at END."""
    folder = write_odd_model(request.param, tmp_path_factory.mktemp("odd"))
    model = load_model(model_config(folder, name=request.param))
    engine = Engine(model, ioi_task(n=4).prompt_pairs(model.tokens))
    sites = [Site("z", 1, None, "END"), Site("attn_out", 1, None, "END")]
    z, added = (torch.from_numpy(activations_at(engine, "clean", sites)[site]).float() for site in sites)
    return model, z.unflatten(-1, (model.shape.n_heads, -1)), added


def test_heads_add_up_to_what_the_attention_adds(layer):
    model, z, added = layer
    outputs = HeadOutputs.of(model, 1, z, added, refuse)
    assert outputs(z).sum(dim=0) + outputs.constant == pytest.approx(added, abs=1e-4)
    assert outputs.share_a_norm == (model.shape.name == "gemma3")
    assert (outputs.gain == pytest.approx(0.22, rel=1e-3)) == (model.shape.name == "granite")


def test_an_attention_that_adds_more_than_its_heads_is_refused(layer):
    model, z, added = layer
    with pytest.raises(LabError, match="the attention of layer 1 writes more than the sum of its heads' z times W_O"):
        HeadOutputs.of(model, 1, z, added + torch.randn(added.shape), refuse)
