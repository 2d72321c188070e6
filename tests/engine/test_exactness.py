"""Shortcuts are used only on models on which they are proved, and components that are only shown are refused."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import GPTJConfig, GPTJForCausalLM

from ioi_lab.engine.batching import SHORTCUTS
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.exactness import ShortcutProofs, proofs_of
from ioi_lab.engine.forward import Forward
from ioi_lab.engine.passes import Passes
from ioi_lab.engine.recordings import RecordingCache
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.models.shape import COMPONENTS
from tests.conftest import ARCHITECTURES, hugging_face, ioi_task, model_config
from tests.engine.helpers import assert_matches_brute_force, components, other_model, steering_grid
from tests.engine.toy import SHAPE
from tests.planted import plant, prompt_pairs


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


def one_edit_per_layer(component, n_layers):
    return [[Edit(Site(component, layer), "zero")] for layer in range(n_layers)]


@pytest.mark.parametrize("component", ["q", "k", "v", "pattern", "z", "mlp_out"])
def test_a_network_in_which_few_heads_do_anything_is_not_refused(tmp_path, caplog, component):
    """Without a head in the last layer, no edit early, in the middle or late in the model reaches the logits."""
    planted = plant(tmp_path / "planted", induction=(1, 2), noise=0)
    model, plain = load_model(model_config(planted.folder)), hugging_face(planted.folder)
    prompts = prompt_pairs(model.tokens, 2)
    assert_matches_brute_force((model, plain, prompts), one_edit_per_layer(component, 3), "clean")
    assert proofs_of(model).proved[component, False] == "sublayers"
    assert caplog.text == ""


def test_a_component_without_any_effect_is_reported_once_and_run_whole(tmp_path, caplog):
    planted = plant(tmp_path / "planted", noise=0)
    plain = hugging_face(planted.folder)
    for block in plain.transformer.h:
        block.attn.c_proj.weight.data.zero_()
    model, plain = other_model(planted.folder, tmp_path, plain)
    prompts = prompt_pairs(model.tokens, 6)
    for readout in ("full", "logit_diff"):
        engine = Engine(model, prompts, readout=readout)
        assert_matches_brute_force((model, plain, prompts), one_edit_per_layer("z", 3), "clean", engine)
    (line,) = [record.message for record in caplog.records]
    assert line == (
        "engine: writing noise into z changes no logit that is read of other (tried in 3 layers, at 7 positions of 4 "
        "prompts), so parts of passes cannot be proved and whole ones are used"
    )
    assert not proofs_of(model).proved["z", False]


def passes_and_prompt(setup, *, pair_only=False):
    model, _, prompts = setup
    passes = Passes(model, 1.0, RecordingCache(1e9), prompts.longest, pair_only=pair_only)
    return passes, Bucket(prompts, [0], model.device)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pair_only", [False, True])
def test_parts_are_exact_for_every_component(setups, architecture, pair_only):
    proofs = ShortcutProofs()
    tried = components(setups[architecture][0].shape)
    assert proofs.shortcut(*passes_and_prompt(setups[architecture], pair_only=pair_only), tried) == "sublayers"
    assert proofs.proved == {(component, pair_only): "sublayers" for component in tried}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [({"sublayers"}, "positions"), ({"sublayers", "positions"}, "blocks"), ({*SHORTCUTS}, None)],
)
def test_the_next_smaller_shortcut_is_used_if_one_is_wrong(setups, monkeypatch, caplog, wrong, expected):
    """`sublayers` alone keeps attention, `positions` starts late, `blocks` does neither."""
    caplog.set_level(logging.INFO)
    model, plain, prompts = setups["llama-gqa"]
    proofs_of(model).proved.clear()
    right = Forward.part

    def part(self, base, part, *arguments, **keywords):
        kind = "sublayers" if part.attention != "run" else "positions" if part.end_only else "blocks"
        return right(self, base, part, *arguments, **keywords) + (0.01 if kind in wrong else 0.0)

    monkeypatch.setattr(Forward, "part", part)
    edits = [[Edit(Site("mlp_out", layer, position="END"), "zero")] for layer in range(3)]
    assert_matches_brute_force((model, plain, prompts), edits, "clean")
    assert proofs_of(model).proved["mlp_out", False] == expected
    line = f"no more than {expected} left out for mlp_out" if expected else "whole passes for mlp_out"
    assert line in caplog.text
    proofs_of(model).proved.clear()


def test_the_smallest_shortcut_of_several_components_is_used():
    proofs, shape = ShortcutProofs(), SHAPE
    proofs.proved = {("resid_pre", False): "sublayers", ("q", False): "positions", ("z", False): "blocks"}
    proofs.proved["mlp_out", False] = None
    passes = SimpleNamespace(model=SimpleNamespace(shape=shape), pair_only=False)
    assert proofs.shortcut(passes, None, []) == "sublayers"
    assert proofs.shortcut(passes, None, ["q"]) == "positions"
    assert proofs.shortcut(passes, None, ["q", "z"]) == "blocks"
    assert proofs.shortcut(passes, None, ["q", "mlp_out"]) is None


def test_each_component_is_tried_once(setups, monkeypatch):
    tried = []

    def is_exact(trial):
        tried.append(trial._component)
        trial._strongest = 2.0
        return trial._component != "z"

    monkeypatch.setattr("ioi_lab.engine.exactness._Trial.is_exact", is_exact)
    proofs, arguments = ShortcutProofs(), passes_and_prompt(setups["tiny-gpt2"])
    assert proofs.shortcut(*arguments, []) == "sublayers"
    assert proofs.shortcut(*arguments, ["mlp_out", "q"]) == "sublayers"
    assert proofs.shortcut(*arguments, ["z", "q"]) is None
    assert proofs.shortcut(*arguments, ["q"]) == "sublayers"  # one that is not exact does not slow down the others
    assert tried == ["resid_pre", "q", "mlp_out", "z", "z", "z"]  # once per shortcut
    assert set(tried) < set(COMPONENTS)


def test_engines_on_one_model_share_its_proofs(setups):
    model = setups["tiny-gpt2"][0]
    assert proofs_of(model) is proofs_of(model)
    assert proofs_of(model) is not proofs_of(setups["tiny-pythia"][0])
