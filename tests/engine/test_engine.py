"""The engine against brute force: one prompt, one edit set, one plain forward pass at a time."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from transformer_lens import patching
from transformer_lens.ActivationCache import ActivationCache
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPTJConfig, GPTJForCausalLM

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.exactness import proofs_of
from ioi_lab.engine.forward import Forward
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.models.shape import COMPONENTS, HEAD_COMPONENTS
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from tests.conftest import ARCHITECTURES, hugging_face, ioi_task, model_config
from tests.oracle import activation, change_of, changed, edited_end_logits, tokens

OPERATIONS = ("replace", "add", "scale", "zero")
POSITIONS = ("all", "S2", "END", 3, -2)

# No scales close to 0: if almost nothing is left of a stream, the norm after it enlarges float32 rounding beyond 1e-4,
# in the plain model as in the engine.
SCALES = st.just(0.0) | st.floats(0.0625, 3, width=32) | st.floats(-3, -0.0625, width=32)


@pytest.fixture(scope="module")
def setups(folders):
    """For each architecture: the loaded model, the plain one, two prompts of each of two lengths."""
    result = {}
    for name in ARCHITECTURES:
        model = load_model(model_config(folders[name]))
        drawn = ioi_task(n=6, corruption="abc").prompt_pairs(model.tokens)
        prompts = PromptPairs([drawn[row] for rows in drawn.buckets().values() for row in rows[:2]])
        assert len(prompts.buckets()) > 1
        result[name] = model, hugging_face(folders[name]), prompts
    return result


def components(shape):
    return [component for component in COMPONENTS if not (component == "resid_mid" and shape.parallel)]


def assert_matches_brute_force(setup, edit_sets, base, engine=None):
    model, plain, prompts = setup
    readout = (engine or Engine(model, prompts)).run(edit_sets, base, progress=False)
    for row, pair in enumerate(prompts):
        unedited = edited_end_logits(plain, pair, row, [], base).log_softmax(-1)
        for index, edits in enumerate(edit_sets):
            logits = edited_end_logits(plain, pair, row, edits, base)
            log_probs = logits.log_softmax(-1)
            expected = {
                "answer_logit": logits[pair.answer_id],
                "distractor_logit": logits[pair.distractor_id],
                "logit_diff": logits[pair.answer_id] - logits[pair.distractor_id],
                "p_answer": log_probs[pair.answer_id].exp(),
                "p_distractor": log_probs[pair.distractor_id].exp(),
                "kl": (unedited.exp() * (unedited - log_probs)).sum(),
            }
            for name, value in expected.items():
                got = getattr(readout, name)
                if got is not None:
                    assert got[index, row] == pytest.approx(value.item(), abs=1e-4), (name, edits, pair.clean)


def given_values(site, shape, prompts):
    """A tensor of each shape that an edit takes."""
    width = site.width(shape, prompts.longest)
    generator = torch.Generator().manual_seed(width)
    sizes = ((width,), (len(prompts), width), (len(prompts), prompts.longest, width))
    return [torch.randn(size, generator=generator) for size in sizes]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("base", ["clean", "corrupted"])
@pytest.mark.parametrize("component", COMPONENTS)
def test_every_operation_and_position_equals_brute_force(setups, architecture, component, base):
    setup = setups[architecture]
    shape = setup[0].shape
    if component not in components(shape):
        pytest.skip("parallel blocks have no resid_mid")
    edit_sets = []
    for head in (None, 1) if component in HEAD_COMPONENTS else (None,):
        for position in POSITIONS:
            site = Site(component, 1, head, position)
            edit_sets += [(Edit(site, "replace", value),) for value in given_values(site, shape, setup[2])]
            edit_sets += [
                (Edit(site, "replace", FromPass("clean")),),
                (Edit(site, "replace", FromPass("corrupted")),),
                (Edit(site, "add", given_values(site, shape, setup[2])[0], scale=-2.5),),
                (Edit(site, "scale", scale=0.3),),
                (Edit(site, "zero"),),
            ]
    assert_matches_brute_force(setup, edit_sets, base)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("readout", ["full", "logit_diff"])
def test_first_and_last_layer_equal_brute_force(setups, architecture, readout):
    model, plain, prompts = setups[architecture]
    edit_sets = [
        (Edit(Site(component, layer, None, position), "replace", FromPass("clean")),)
        for component in components(model.shape)
        for layer in (0, model.shape.n_layers - 1)
        for position in ("all", "S2", "END")
    ]
    engine = Engine(model, prompts, readout=readout)
    assert (engine.baseline("clean").kl is None) == (readout == "logit_diff")
    assert_matches_brute_force((model, plain, prompts), edit_sets, "corrupted", engine)


def edits(shape, prompts):
    @st.composite
    def one(draw):
        component = draw(st.sampled_from(components(shape)))
        head = None
        if component in HEAD_COMPONENTS:
            head = draw(st.none() | st.integers(0, shape.heads(component) - 1))
        site = Site(component, draw(st.integers(0, shape.n_layers - 1)), head, draw(st.sampled_from(POSITIONS)))
        operation = draw(st.sampled_from(OPERATIONS))
        scale = draw(SCALES)
        if operation in ("scale", "zero"):
            return Edit(site, operation, scale=scale)
        if draw(st.booleans()):
            return Edit(site, operation, FromPass(draw(st.sampled_from(["clean", "corrupted"]))), scale)
        return Edit(site, operation, draw(st.sampled_from(given_values(site, shape, prompts))), scale)

    return one()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],  # an example is read quickly; shrinking it takes many passes
)
@given(data=st.data())
def test_random_edit_sets_equal_brute_force(setups, architecture, data):
    setup = setups[architecture]
    model, _, prompts = setup
    one = edits(model.shape, prompts)
    edit_sets = data.draw(st.lists(st.lists(one, min_size=0, max_size=3), min_size=1, max_size=4))
    base = data.draw(st.sampled_from(["clean", "corrupted"]))
    engine = Engine(
        model,
        prompts,
        memory_gb=data.draw(st.sampled_from([0.01, 0.02, 1.0])),
        readout=data.draw(st.sampled_from(["full", "logit_diff"])),
    )
    assert_matches_brute_force(setup, edit_sets, base, engine)


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
            (Edit(Site("z", layer, head), "replace", FromPass("clean")),)
            for layer in range(shape.n_layers)
            for head in range(shape.n_heads)
        ]
        got = Engine(model, prompts).run(plan, "corrupted", progress=False).logit_diff.mean(axis=1)
        assert got == pytest.approx(expected.flatten().numpy(), abs=1e-4)

    @torch.no_grad()
    def test_residual_by_position(self, setups, architecture):
        model, _, _ = setups[architecture]
        prompts = same_length(ioi_task(n=24).prompt_pairs(model.tokens))
        expected = patching.get_act_patch_resid_pre(model.bridge, *transformer_lens_inputs(model, prompts))
        plan = [
            (Edit(Site("resid_pre", layer, position=position), "replace", FromPass("clean")),)
            for layer in range(model.shape.n_layers)
            for position in range(len(prompts[0]))
        ]
        got = Engine(model, prompts).run(plan, "corrupted", progress=False).logit_diff.mean(axis=1)
        assert got == pytest.approx(expected.flatten().numpy(), abs=1e-4)


def steering_grid(shape, scales=(-1.0, 0.5, 2.0)):
    vector = torch.linspace(-1, 1, shape.d_head)
    return [
        (Edit(Site("z", layer, head, "END"), "add", vector, scale),)
        for layer in range(shape.n_layers)
        for head in range(shape.n_heads)
        for scale in scales
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_memory_bound_changes_no_result(setups, architecture):
    model, _, prompts = setups[architecture]
    plan = steering_grid(model.shape)
    large, small = (Engine(model, prompts, bound).run(plan, "clean", progress=False) for bound in (1.0, 0.01))
    assert small.logit_diff == pytest.approx(large.logit_diff, abs=1e-4)


def test_a_memory_bound_below_one_edit_names_what_is_needed(setups):
    model, _, prompts = setups["tiny-gpt2"]
    with pytest.raises(LabError, match=r"engine.memory_gb: got 1e-05, but one edit .* of 1\d tokens needs 0\.0\d+ "):
        Engine(model, prompts, 1e-5).run(steering_grid(model.shape), "clean")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_weights_give_metrics_near_those_of_full_precision(setups, folders, dtype):
    _, _, prompts = setups["llama-gqa"]
    exact = setups["llama-gqa"][0]
    low = load_model(model_config(folders["llama-gqa"], dtype=dtype))
    plan = [(Edit(Site("z", 1, head, "END"), "zero"),) for head in range(exact.shape.n_heads)]
    plan += [(Edit(Site("v", 1, 0), "replace", FromPass("corrupted")),)]
    expected, got = (Engine(model, prompts).run(plan, "clean", progress=False) for model in (exact, low))
    assert got.logit_diff.dtype == np.float64
    largest = abs(expected.answer_logit).max()
    assert abs(got.answer_logit - expected.answer_logit).max() < 0.05 * largest
    assert abs(got.p_answer - expected.p_answer).max() < 0.05
    assert all(proofs_of(low).proved.values())


def test_no_edits_is_reported(setups):
    model, _, prompts = setups["tiny-gpt2"]
    with pytest.raises(LabError, match="edits: the list is empty"):
        Engine(model, prompts).run([], "clean")


@pytest.mark.parametrize("readout", ["full", "logit_diff"])
def test_the_first_site_that_is_not_finite_is_named(setups, readout):
    model, _, prompts = setups["tiny-gpt2"]
    explosion = Edit(Site("mlp_out", 1), "add", torch.full((model.shape.d_model,), torch.inf))
    with pytest.raises(
        LabError, match=r"not finite in an edited clean pass of .*: first mlp_out of layer 1, prompt 'W"
    ):
        Engine(model, prompts, readout=readout).run([(), (explosion,)], "clean", progress=False)


def test_prompt_longer_than_the_context_is_reported(setups):
    model, _, prompts = setups["tiny-gpt2"]
    pair = prompts[0]
    long = (*pair.clean_tokens * 10,)
    too_long = PromptPair("a", "b", " c", " d", long, long, 1, 2, {"END": len(long) - 1}, ("x",) * len(long))
    with pytest.raises(LabError, match="reads 64"):
        Engine(model, PromptPairs([too_long]))


class Calls:
    """Counts the positions that each block, attention and MLP of the plain model computes."""

    def __init__(self, model):
        self.positions = {}
        self._handles = []
        for layer, block in enumerate(model.bridge.blocks):
            for name, module in (("block", block), ("q", block.attn.q), ("mlp", block.mlp)):
                self.positions[name, layer] = 0
                hook = self._count((name, layer))
                self._handles.append(module.original_component.register_forward_pre_hook(hook, with_kwargs=True))

    def _count(self, key):
        def hook(module, arguments, keywords):
            first = arguments[0] if arguments else keywords["hidden_states"]
            self.positions[key] += first.shape[0] * first.shape[1]

        return hook

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self._handles:
            handle.remove()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestNothingIsRunThatCannotChange:
    """Positions that are computed in a second run, for which the unedited runs are kept from the first."""

    def counted(self, setups, architecture, plan, base="clean"):
        model, _, prompts = setups[architecture]
        engine = Engine(model, prompts)
        engine.run(plan, base, progress=False)
        with Calls(model) as calls:
            engine.run(plan, base, progress=False)
        return model.shape, prompts, calls.positions

    def test_earlier_blocks_and_positions(self, setups, architecture):
        plan = [(Edit(Site("resid_pre", 1, position="END"), "scale", scale=float(i)),) for i in range(5)]
        shape, prompts, counts = self.counted(setups, architecture, plan)
        assert counts["block", 0] == 0
        assert all(counts["block", layer] == 5 * len(prompts) for layer in range(1, shape.n_layers))

    def test_attention_before_the_edit(self, setups, architecture):
        shape, prompts, counts = self.counted(setups, architecture, [(Edit(Site("z", 1, 0, "END"), "zero"),)])
        assert counts["q", 1] == 0
        assert counts["mlp", 1] == (0 if shape.parallel else len(prompts))
        assert counts["q", 2] == counts["mlp", 2] == len(prompts)

    def test_all_but_end_in_the_last_block(self, setups, architecture):
        shape, prompts, counts = self.counted(setups, architecture, [(Edit(Site("resid_pre", 0), "zero"),)])
        last = shape.n_layers - 1
        assert counts["block", last] == sum(len(pair) for pair in prompts)
        assert counts["q", last] == counts["mlp", last] == len(prompts)

    def test_positions_before_the_runs_differ(self, setups, architecture):
        plan = [(Edit(Site("resid_pre", 0), "replace", FromPass("clean")),)]
        _, prompts, counts = self.counted(setups, architecture, plan, "corrupted")
        buckets = [[prompts[row] for row in rows] for rows in prompts.buckets().values()]
        expected = sum(len(b) * (len(b[0]) - min(pair.first_difference for pair in b)) for b in buckets)
        assert counts["block", 0] == expected < sum(len(pair) for pair in prompts)

    def test_edits_without_effect(self, setups, architecture):
        last = setups[architecture][0].shape.n_layers - 1
        plan = [
            (Edit(Site("mlp_out", last, position="S2"), "zero"),),  # read by nothing
            (Edit(Site("resid_pre", 1, position="BOS"), "replace", FromPass("clean")),),  # the same in both runs
        ]
        _, _, counts = self.counted(setups, architecture, plan, "corrupted")
        assert set(counts.values()) == {0}


def test_unedited_runs_are_kept_within_the_bound(setups):
    model, _, prompts = setups["tiny-gpt2"]
    plan = [edits for edits in steering_grid(model.shape) if edits[0].site.layer > 0]
    roomy = Engine(model, prompts, 1.0)
    expected = roomy.run(plan, "clean", progress=False)
    size = roomy._recordings.bytes
    tight = Engine(model, prompts, 2 * size / 1e9)  # a quarter of it cannot hold them all
    for engine, is_kept in ((roomy, True), (tight, False)):
        engine.run(plan, "clean", progress=False)
        assert engine._recordings.bytes <= 0.25 * engine._budget.bound
        with Calls(model) as calls:
            again = engine.run(plan, "clean", progress=False)
        assert (calls.positions["block", 0] == 0) == is_kept
        assert again.logit_diff == pytest.approx(expected.logit_diff, abs=1e-4)


def test_a_model_that_resists_parts_is_run_whole(setups, monkeypatch, caplog):
    model, plain, prompts = setups["tiny-gpt2"]
    proofs_of(model).proved.clear()

    def resist(self, *arguments, **keywords):
        raise AttributeError("no residual stream here")

    monkeypatch.setattr(Forward, "part", resist)
    plan = steering_grid(model.shape)[:4]
    assert_matches_brute_force((model, plain, prompts), plan, "clean")
    assert "whole passes" in caplog.text
    proofs_of(model).proved.clear()


def test_parts_that_are_wrong_are_not_used(setups, monkeypatch):
    model, plain, prompts = setups["tiny-pythia"]
    proofs_of(model).proved.clear()
    right = Forward.part
    monkeypatch.setattr(Forward, "part", lambda *arguments, **keywords: right(*arguments, **keywords) + 0.01)
    assert_matches_brute_force((model, plain, prompts), steering_grid(model.shape)[:4], "clean")
    assert not any(proofs_of(model).proved.values())
    proofs_of(model).proved.clear()


def other_model(folder, tmp_path, plain):
    """A random model of another architecture, with the tokenizer of a packaged one."""
    target = tmp_path / "other"
    plain.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    return load_model(model_config(target)), hugging_face(target)


def test_a_component_that_is_only_shown_is_reported(folders, tmp_path):
    """TransformerLens runs GPT-J's own attention, and shows its pattern afterwards."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4, "initializer_range": 0.2}
    plain = GPTJForCausalLM(GPTJConfig(vocab_size=1082, bos_token_id=0, eos_token_id=0, **sizes))
    model, plain = other_model(folders["tiny-gpt2"], tmp_path, plain)
    prompts = ioi_task(n=2).prompt_pairs(model.tokens)
    with pytest.raises(LabError, match="component: got 'pattern', but writing there changes nothing in other"):
        Engine(model, prompts).run([(Edit(Site("pattern", 1), "zero"),)], "clean")
    got = Engine(model, prompts).run([(Edit(Site("mlp_out", 1), "zero"),)], "clean", progress=False)
    assert not np.allclose(got.logit_diff, Engine(model, prompts).baseline("clean").logit_diff, atol=1e-3)


def test_a_model_of_one_layer(folders, tmp_path):
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
    plain = GPT2LMHeadModel(GPT2Config(vocab_size=1082, bos_token_id=0, eos_token_id=0, **sizes))
    model, plain = other_model(folders["tiny-gpt2"], tmp_path, plain)
    prompts = ioi_task(n=2).prompt_pairs(model.tokens)
    plan = [
        (Edit(Site(component, 0, None, position), "zero"),) for component in COMPONENTS for position in ("all", "END")
    ]
    assert_matches_brute_force((model, plain, prompts), plan, "clean")


def test_logits_of_other_tokens_that_are_not_finite_are_reported(folders, tmp_path):
    plain = hugging_face(folders["tiny-gpt2"])
    plain.config.tie_word_embeddings = False
    plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.clone())
    plain.lm_head.weight.data[5] = torch.inf
    model, _ = other_model(folders["tiny-gpt2"], tmp_path, plain)
    prompts = ioi_task(n=2).prompt_pairs(model.tokens)
    with pytest.raises(LabError, match="not finite in the clean pass of other: the logits"):
        Engine(model, prompts).baseline("clean")


def test_components_are_whole_again_after_an_error(setups):
    model, _, prompts = setups["tiny-gpt2"]
    before = Engine(model, prompts).baseline("clean")
    too_much = Edit(Site("resid_pre", 3), "add", torch.full((model.shape.d_model,), torch.nan))
    with pytest.raises(LabError, match="not finite"):
        Engine(model, prompts).run([(too_much,)], "clean", progress=False)
    assert not any("forward" in vars(module) for module in model.bridge.modules())
    assert (Engine(model, prompts).baseline("clean").logit_diff == before.logit_diff).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestCapture:
    def test_unedited_activations(self, setups, architecture):
        model, plain, prompts = setups[architecture]
        sites = [Site(component, 1) for component in components(model.shape)]
        sites += [Site("z", 2, 1), Site("v", 0, 1), Site("pattern", 1, 2)]
        recorded = Engine(model, prompts).record("corrupted", sites)
        for site in sites:
            assert recorded[site].shape == (len(prompts), prompts.longest, site.width(model.shape, prompts.longest))
            for row, pair in enumerate(prompts):
                expected = activation(plain, tokens(pair, "corrupted"), Site(site.component, site.layer))
                heads = model.shape.heads(site.component) if site.has_heads else 1
                expected = expected.unflatten(1, (heads, -1))
                got = recorded[site][row].unflatten(1, (1 if site.head is not None else heads, -1))
                assert not got[len(pair) :].any()
                if site.component == "pattern":
                    assert not got[..., len(pair) :].any()
                    got = got[..., : len(pair)]
                if site.head is not None:
                    expected = expected[:, [site.head]]
                assert torch.allclose(got[: len(pair)], expected, atol=1e-4), site

    def test_edited_activations(self, setups, architecture):
        model, plain, prompts = setups[architecture]
        plan = [(Edit(Site("z", 0, head, "S2"), "zero"),) for head in range(2)] + [()]
        site = Site("q", 2, 3)
        captured = Engine(model, prompts).capture(plan, "clean", [site])[site]
        for index, edit_set in enumerate(plan):
            for row, pair in enumerate(prompts):
                with ExitStack() as stack:
                    for edit in edit_set:
                        stack.enter_context(changed(plain, edit.site, change_of(plain, edit, pair, row, None)))
                    expected = activation(plain, tokens(pair, "clean"), site)
                width = model.shape.d_head
                expected = expected[:, 3 * width : 4 * width]
                assert torch.allclose(captured[index, row, : len(pair)], expected, atol=1e-4)
