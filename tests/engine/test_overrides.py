"""Parts of a model that are kept or run at END alone; if a norm follows them, what the norm puts out is kept."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack

import pytest
import torch
from torch import nn

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.exactness import proofs_of
from ioi_lab.engine.overrides import end_only, keep_output, overridden
from tests.engine.helpers import Calls, assert_matches_brute_force, components
from tests.engine.test_blocks import odd

POST_NORMS = ("gemma2", "gemma3", "olmo2", "glm4")


@pytest.fixture(scope="module", params=POST_NORMS)
def post_norm(request, tmp_path_factory):
    return odd(request.param, tmp_path_factory.mktemp("odd"))


def test_every_component_equals_plain_hooks_if_norms_follow_the_sublayers(post_norm):
    model, _, _ = post_norm
    shape = model.shape
    for component in components(shape):
        head = 1 if component in ("q", "k", "v", "pattern", "z") else None
        edits = [
            [Edit(Site(component, layer, head, position), "replace", FromPass("corrupted"))]
            for layer in range(shape.n_layers)
            for position in ("all", "END")
        ]
        assert_matches_brute_force(post_norm, edits, "clean")
        assert proofs_of(model).proved[component, False] == "sublayers", component


def test_what_is_kept_is_not_run(post_norm):
    model, _, prompts = post_norm
    engine = Engine(model, prompts)
    plan = [[Edit(Site("mlp_out", 1, position="END"), "zero")]]
    engine.run(plan, "clean", progress=False)
    with Calls(model) as calls:
        engine.run(plan, "clean", progress=False)
    assert calls.positions["block", 0] == calls.positions["q", 1] == calls.positions["mlp", 1] == 0
    assert calls.positions["q", 2] == len(prompts)


@pytest.mark.parametrize("component", ["attn_out", "mlp_out"])
@torch.no_grad()
def test_what_is_kept_is_the_component_itself(post_norm, component):
    """Its hook shows what was kept, and the stream gets no more than that."""
    model, _, prompts = post_norm
    block, seen = model.bridge.blocks[1], {}
    sites = {name: Site(name, 1).hook for name in ("resid_pre", "attn_out", "mlp_out", "resid_post")}
    hooks = [(hook, lambda x, hook, name=name: seen.update({name: x.clone()})) for name, hook in sites.items()]
    kept = torch.randn(1, len(prompts[0]), model.shape.d_model, generator=torch.Generator().manual_seed(0))
    with ExitStack() as stack:
        keep_output(block, component, kept, stack)
        stack.enter_context(model.bridge.hooks(fwd_hooks=hooks))
        model.bridge(torch.tensor([prompts[0].clean_tokens]))
    assert torch.equal(seen[component], kept)
    added = seen["resid_pre"] + seen["attn_out"] + seen["mlp_out"]
    assert torch.allclose(seen["resid_post"], added, atol=1e-4)
    assert not any("forward" in vars(module) for module in block.modules())


def test_a_forward_function_is_replaced_inside_a_context():
    linear, x = nn.Linear(2, 2), torch.ones(1, 2)
    before = linear(x)
    with overridden(linear, lambda x: x + 1):
        assert torch.equal(linear(x), x + 1)
    with contextlib.suppress(ValueError), overridden(linear, lambda x: x + 1):
        raise ValueError
    assert torch.equal(linear(x), before)


def test_what_runs_at_end_alone_has_zeros_before_it():
    x = torch.arange(12.0).view(2, 3, 2)
    got = end_only(lambda end: end + 1)(x)
    assert torch.equal(got[:, -1], x[:, -1] + 1)
    assert not got[:, :-1].any()
