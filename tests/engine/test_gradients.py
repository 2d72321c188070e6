"""Gradient estimates against automatic differentiation of the plain model, and against what they must add up to."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.models.shape import COMPONENTS, HEAD_COMPONENTS
from tests.conftest import ARCHITECTURES, hugging_face, ioi_task, model_config
from tests.oracle import activation, changed, tokens


@pytest.fixture(scope="module", params=ARCHITECTURES)
def setup(request, folders):
    model = load_model(model_config(folders[request.param]))
    prompts = ioi_task(n=4, corruption="s2").prompt_pairs(model.tokens)
    return model, hugging_face(folders[request.param]), prompts


def logit_diff(plain, pair, run):
    logits = plain(tokens(pair, run)).logits[0, -1]
    return logits[pair.answer_id] - logits[pair.distractor_id]


def expected_change(plain, pair, site, base):
    """Σ (other − base activation) · gradient over the whole site, by autograd on the plain model."""
    here, there = (activation(plain, tokens(pair, run), site) for run in (base, "clean"))
    leaf = here.clone().requires_grad_()
    with torch.enable_grad(), changed(plain, site, lambda x: leaf + 0):
        (gradient,) = torch.autograd.grad(logit_diff(plain, pair, base), leaf)
    return (there - here) * gradient


@pytest.mark.parametrize("component", COMPONENTS)
def test_estimates_equal_autograd(setup, component):
    model, plain, prompts = setup
    if component == "resid_mid" and model.shape.parallel:
        pytest.skip("parallel blocks have no resid_mid")
    engine = Engine(model, prompts)
    site = Site(component, 1)
    sites = [site, Site(component, 1, position="S2")]
    if component in HEAD_COMPONENTS:
        sites.append(Site(component, 1, 1, "END"))
    plan = [(Edit(site, "replace", FromPass("clean")),) for site in sites]
    got = engine.estimate(plan, "corrupted").logit_diff - engine.baseline("corrupted").logit_diff
    for row, pair in enumerate(prompts):
        change = expected_change(plain, pair, site, "corrupted")
        expected = [change.sum(), change[pair.labels["S2"]].sum()]
        if component in HEAD_COMPONENTS:
            heads = change[-1].unflatten(0, (model.shape.heads(component), -1))
            expected.append(heads[1].sum())
        assert got[:, row] == pytest.approx(torch.stack(expected).numpy(), abs=1e-3, rel=1e-3)


@pytest.mark.long
def test_integrated_gradients_of_the_whole_input_add_up_to_the_whole_effect(setup):
    model, _, prompts = setup
    engine = Engine(model, prompts)
    everything = (Edit(Site("resid_pre", 0), "replace", FromPass("clean")),)
    got = engine.estimate([everything], "corrupted", ig_steps=200).logit_diff
    plain_gradient = engine.estimate([everything], "corrupted").logit_diff
    exact = engine.baseline("clean").logit_diff
    gap = abs(exact - engine.baseline("corrupted").logit_diff).mean()
    assert abs(got - exact).mean() < 0.05 * gap  # completeness, up to the steps
    assert abs(got - exact).mean() < abs(plain_gradient - exact).mean()


def test_sets_add_up(setup):
    model, _, prompts = setup
    engine = Engine(model, prompts)
    edits = [Edit(Site("z", layer, 0), "replace", FromPass("clean")) for layer in range(model.shape.n_layers)]
    base = engine.baseline("corrupted").logit_diff
    one_by_one = engine.estimate([(edit,) for edit in edits], "corrupted").logit_diff - base
    together = engine.estimate([edits], "corrupted").logit_diff - base
    assert together[0] == pytest.approx(one_by_one.sum(axis=0), abs=1e-3)


def test_the_memory_bound_holds_for_gradients_too(setup):
    model, _, prompts = setup
    plan = [(Edit(Site("z", 1, 0), "replace", FromPass("clean")),)]
    large, small = (Engine(model, prompts, bound).estimate(plan, "corrupted") for bound in (1.0, 0.012))
    assert small.logit_diff == pytest.approx(large.logit_diff, abs=1e-4)
    with pytest.raises(LabError, match=r"engine.memory_gb: got 1e-05, but"):
        Engine(model, prompts, 1e-5).estimate(plan, "corrupted")
