"""The engine against brute force: one prompt, one edit set, one plain forward pass at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformer_lens import patching
from transformer_lens.ActivationCache import ActivationCache

from ioi_lab.edits import Edit, FromRun, Site
from ioi_lab.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models import load_model
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from tests.conftest import ARCHITECTURES, hugging_face, ioi_task, model_config
from tests.oracle import edited_end_logits

COMPONENTS = ("resid_pre", "resid_post", "attn_out", "mlp_out", "z")
OPERATIONS = ("replace", "add", "scale", "zero")
POSITIONS = ("all", "S2", "END", 3, -2)


@pytest.fixture(scope="module")
def setups(folders):
    """For each architecture: the loaded model, the plain one, prompts of several lengths."""
    result = {}
    for name in ARCHITECTURES:
        model = load_model(model_config(folders[name]))
        prompts = ioi_task(n=6, corruption="abc").prompt_pairs(model.tokens)
        assert len(prompts.buckets()) > 1
        result[name] = model, hugging_face(folders[name]), prompts
    return result


def assert_matches_brute_force(setup, edit_sets, base, batch_size=16):
    model, plain, prompts = setup
    readout = Engine(model, prompts, batch_size).run(edit_sets, base, progress=False)
    for row, pair in enumerate(prompts):
        unedited = edited_end_logits(plain, pair, row, [], base).log_softmax(-1)
        for index, edits in enumerate(edit_sets):
            logits = edited_end_logits(plain, pair, row, edits, base)
            log_probs = logits.log_softmax(-1)
            expected = {
                "answer_logit": logits[pair.answer_id],
                "distractor_logit": logits[pair.distractor_id],
                "p_answer": log_probs[pair.answer_id].exp(),
                "p_distractor": log_probs[pair.distractor_id].exp(),
                "kl": (unedited.exp() * (unedited - log_probs)).sum(),
            }
            for name, value in expected.items():
                got = getattr(readout, name)[index, row]
                assert got == pytest.approx(value.item(), abs=1e-4), (name, edits, pair.clean)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("base", ["clean", "corrupted"])
@pytest.mark.parametrize("component", COMPONENTS)
def test_every_operation_and_position_equals_brute_force(setups, architecture, component, base):
    setup = setups[architecture]
    heads = (None, 1) if component == "z" else (None,)
    other = "clean" if base == "corrupted" else "corrupted"
    edit_sets = []
    for head in heads:
        for position in POSITIONS:
            site = Site(component, 1, head, position)
            vector = torch.linspace(-1, 1, site.width(setup[0].shape))
            edit_sets += [
                (Edit(site, "replace", FromRun(other)),),
                (Edit(site, "replace", vector),),
                (Edit(site, "add", vector, scale=-2.5),),
                (Edit(site, "scale", scale=0.3),),
                (Edit(site, "zero"),),
            ]
    assert_matches_brute_force(setup, edit_sets, base)


def edits(shape, n_prompts):
    @st.composite
    def one(draw):
        component = draw(st.sampled_from(COMPONENTS))
        head = draw(st.none() | st.integers(0, shape.n_heads - 1)) if component == "z" else None
        site = Site(component, draw(st.integers(0, shape.n_layers - 1)), head, draw(st.sampled_from(POSITIONS)))
        operation = draw(st.sampled_from(OPERATIONS))
        scale = draw(st.floats(-3, 3, width=32))
        if operation in ("scale", "zero"):
            return Edit(site, operation, scale=scale)
        if draw(st.booleans()):
            return Edit(site, operation, FromRun(draw(st.sampled_from(["clean", "corrupted"]))), scale)
        generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
        size = [site.width(shape)] if draw(st.booleans()) else [n_prompts, site.width(shape)]
        return Edit(site, operation, torch.randn(size, generator=generator), scale)

    return one()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_edit_sets_equal_brute_force(setups, architecture, data):
    setup = setups[architecture]
    one = edits(setup[0].shape, len(setup[2]))
    edit_sets = data.draw(st.lists(st.lists(one, min_size=0, max_size=3), min_size=1, max_size=4))
    base = data.draw(st.sampled_from(["clean", "corrupted"]))
    assert_matches_brute_force(setup, edit_sets, base, batch_size=data.draw(st.integers(1, 20)))


def same_length(prompts: PromptPairs) -> PromptPairs:
    rows = max(prompts.buckets().values(), key=len)
    return PromptPairs([prompts[row] for row in rows])


def transformer_lens_inputs(model, prompts):
    """Corrupted tokens, clean cache and a metric (the mean logit difference) for TransformerLens' patching."""
    clean = torch.tensor([pair.clean_tokens for pair in prompts])
    corrupted = torch.tensor([pair.corrupted_tokens for pair in prompts])
    answer = torch.tensor([pair.answer_id for pair in prompts])
    distractor = torch.tensor([pair.distractor_id for pair in prompts])
    rows = torch.arange(len(prompts))
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(clean)
    assert isinstance(cache, ActivationCache)
    return corrupted, cache, lambda logits: (logits[rows, -1, answer] - logits[rows, -1, distractor]).mean()


@pytest.mark.parametrize("architecture", ["tiny-gpt2", "tiny-pythia"])
class TestAgainstTransformerLens:
    @torch.no_grad()
    def test_head_grid(self, setups, architecture):
        model, _, _ = setups[architecture]
        prompts = same_length(ioi_task(n=24, corruption="swap").prompt_pairs(model.tokens))
        expected = patching.get_act_patch_attn_head_out_all_pos(model.bridge, *transformer_lens_inputs(model, prompts))
        shape = model.shape
        plan = [
            (Edit(Site("z", layer, head), "replace", FromRun("clean")),)
            for layer in range(shape.n_layers)
            for head in range(shape.n_heads)
        ]
        got = Engine(model, prompts, 64).run(plan, "corrupted", progress=False).logit_diff.mean(axis=1)
        assert got == pytest.approx(expected.flatten().numpy(), abs=1e-4)

    @torch.no_grad()
    def test_residual_by_position(self, setups, architecture):
        model, _, _ = setups[architecture]
        prompts = same_length(ioi_task(n=24).prompt_pairs(model.tokens))
        expected = patching.get_act_patch_resid_pre(model.bridge, *transformer_lens_inputs(model, prompts))
        plan = [
            (Edit(Site("resid_pre", layer, position=position), "replace", FromRun("clean")),)
            for layer in range(model.shape.n_layers)
            for position in range(len(prompts[0]))
        ]
        got = Engine(model, prompts, 64).run(plan, "corrupted", progress=False).logit_diff.mean(axis=1)
        assert got == pytest.approx(expected.flatten().numpy(), abs=1e-4)


def test_batch_size_changes_no_result(setups):
    model, _, prompts = setups["tiny-gpt2"]
    plan = [(Edit(Site("z", layer, 0), "replace", FromRun("clean")),) for layer in range(model.shape.n_layers)]
    small, large = (Engine(model, prompts, size).run(plan, "corrupted", progress=False) for size in (1, 1000))
    assert small.logit_diff == pytest.approx(large.logit_diff, abs=1e-4)


def test_no_edits_is_told(setups):
    model, _, prompts = setups["tiny-gpt2"]
    with pytest.raises(LabError, match="edits: the list is empty"):
        Engine(model, prompts, 8).run([], "clean")


def test_logits_that_are_not_finite_are_told(setups):
    model, _, prompts = setups["tiny-gpt2"]
    explosion = Edit(Site("resid_post", 0), "add", torch.full((model.shape.d_model,), torch.inf))
    with pytest.raises(LabError, match="not finite"):
        Engine(model, prompts, 8).run([(explosion,)], "clean", progress=False)


def test_prompt_longer_than_the_context_is_told(setups):
    model, _, prompts = setups["tiny-gpt2"]
    pair = prompts[0]
    long = (*pair.clean_tokens * 10,)
    too_long = PromptPair("a", "b", " c", " d", long, long, 1, 2, {"END": len(long) - 1}, ("x",) * len(long))
    with pytest.raises(LabError, match="reads 64"):
        Engine(model, PromptPairs([too_long]), 8)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_blocks_before_the_first_edit_are_not_run_again(setups, architecture, monkeypatch):
    model, _, prompts = setups[architecture]
    plan = [(Edit(Site("mlp_out", 2, position="END"), "scale", scale=float(i)),) for i in range(5)]
    engine = Engine(model, prompts, batch_size=1)
    calls = [0] * model.shape.n_layers

    def count(layer):
        def hook(*_):
            calls[layer] += 1

        return hook

    handles = [block.original_component.register_forward_hook(count(i)) for i, block in enumerate(model.bridge.blocks)]
    resumed = engine.run(plan, "clean", progress=False)
    for handle in handles:
        handle.remove()
    assert calls[:2] == [len(prompts)] * 2  # the base run of each prompt, and nothing more
    assert calls[2] == len(prompts) * (1 + len(plan))

    monkeypatch.setattr(Engine, "_resuming_is_exact", lambda self: False)
    whole = Engine(model, prompts, batch_size=1).run(plan, "clean", progress=False)
    assert resumed.logit_diff == pytest.approx(whole.logit_diff, abs=1e-5)


def test_a_model_that_cannot_be_resumed_is_run_whole(setups, monkeypatch):
    model, _, prompts = setups["tiny-gpt2"]
    assert Engine(model, prompts, 8)._can_resume

    def resist(self, *arguments):
        raise AttributeError("no residual stream here")

    monkeypatch.setattr(Engine, "_resumed_end_logits", resist)
    assert not Engine(model, prompts, 8)._can_resume


def test_blocks_are_whole_again_after_an_error(setups):
    model, _, prompts = setups["tiny-gpt2"]
    before = Engine(model, prompts, 8).baseline("clean")
    too_much = Edit(Site("resid_pre", 3), "add", torch.full((model.shape.d_model,), torch.nan))
    with pytest.raises(LabError, match="not finite"):
        Engine(model, prompts, 8).run([(too_much,)], "clean", progress=False)
    assert not any("forward" in vars(block) for block in model.bridge.blocks)
    assert (Engine(model, prompts, 8).baseline("clean").logit_diff == before.logit_diff).all()
