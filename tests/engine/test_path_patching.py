"""The edits of path patching; their effects are compared in `tests/interventions/test_path_patch.py`."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.path_patching import path_patch_edits


@pytest.fixture(scope="module")
def engines(setups):
    return {name: Engine(model, prompts) for name, (model, _, prompts) in setups.items()}


def attention_change(engine, base, other, layer):
    """What attention adds to the stream in the other pass, less what it adds in the base pass."""
    site = Site("attn_out", layer)
    return engine.record(other, [site])[site] - engine.record(base, [site])[site]


@pytest.mark.parametrize(("base", "other"), [("clean", "corrupted"), ("corrupted", "clean")])
def test_without_receivers_the_change_is_added_to_the_end_of_the_stream(engines, base, other):
    """The output of head 0.1, by hand: its difference times its rows of the output matrix."""
    engine = engines["tiny-gpt2"]
    ((edit,),) = path_patch_edits(engine, [[Site("z", 0, 1)]], [], base)
    assert (edit.operation, edit.scale) == ("add", 1)
    assert edit.site == Site("resid_post", engine.shape.n_layers - 1, position="END")
    site, d_head = Site("z", 0, 1), engine.shape.d_head
    difference = engine.record(other, [site])[site] - engine.record(base, [site])[site]
    weight = engine.model.bridge.blocks[0].attn.o.original_component.weight[d_head : 2 * d_head]  # [d_head, d_model]
    for row, pair in enumerate(engine.prompts):
        assert torch.allclose(edit.value[row], difference[row, len(pair) - 1] @ weight, atol=1e-4)


def test_the_changes_of_a_set_add_up_and_sets_keep_their_order(engines):
    engine = engines["llama-gqa"]
    senders = [[Site("mlp_out", 1)], [Site("mlp_out", 0), Site("mlp_out", 1)], [Site("mlp_out", 0)]]
    one, both, zero = (edits[0].value for edits in path_patch_edits(engine, senders, [], "corrupted"))
    assert torch.allclose(both, one + zero, atol=1e-5)
    assert not torch.allclose(one, zero, atol=1e-3)


@pytest.mark.parametrize("architecture", ["tiny-gpt2", "tiny-pythia", "llama-gqa"])
def test_a_receiver_gets_what_it_computes_from_the_changed_stream(engines, architecture):
    engine = engines[architecture]
    heads = [Site("z", 0, head) for head in range(engine.shape.n_heads)]
    receiver = Site("q", 1, 2)
    ((edit,),) = path_patch_edits(engine, [heads], [receiver], "clean")
    assert (edit.site, edit.operation) == (receiver, "replace")
    change = attention_change(engine, "clean", "corrupted", 0)
    expected = engine.capture([(Edit(Site("resid_pre", 1), "add", change),)], "clean", [receiver])[receiver][0]
    assert torch.allclose(edit.value, expected, atol=1e-4)
    assert not torch.allclose(edit.value, engine.record("clean", [receiver])[receiver], atol=1e-3)


def test_an_mlp_reads_the_attention_of_its_own_block_unless_in_parallel(engines):
    for architecture, n_edits in (("tiny-gpt2", 1), ("tiny-pythia", 0)):
        (edits,) = path_patch_edits(engines[architecture], [[Site("z", 1, 0)]], [Site("mlp_out", 1)], "clean")
        assert len(edits) == n_edits


def test_receivers_before_the_sender_get_no_edit(engines):
    senders = [[Site("z", 0, 0)], [Site("z", 1, 0)], [Site("z", 2, 0)]]
    receivers = [Site("q", 1, 0), Site("k", 2, 1), Site("mlp_out", 2)]
    edit_sets = path_patch_edits(engines["tiny-gpt2"], senders, receivers, "clean")
    assert [[edit.site for edit in edits] for edits in edit_sets] == [receivers, receivers[1:], receivers[2:]]


def test_the_base_pass_is_the_one_that_is_edited(engines):
    """A set of all heads of layer 0 changes attention of layer 0 into that of the other pass."""
    engine = engines["tiny-gpt2"]
    heads = [Site("z", 0, head) for head in range(engine.shape.n_heads)]
    ((edit,),) = path_patch_edits(engine, [heads], [], "corrupted")
    change = attention_change(engine, "corrupted", "clean", 0)
    for row, pair in enumerate(engine.prompts):
        assert torch.allclose(edit.value[row], change[row, len(pair) - 1], atol=1e-4)
    patched = [[Edit(site, "replace", FromPass("clean")) for site in heads]]
    captured = engine.capture(patched, "corrupted", [Site("attn_out", 0)])[Site("attn_out", 0)][0]
    assert torch.allclose(captured, engine.record("clean", [Site("attn_out", 0)])[Site("attn_out", 0)], atol=1e-4)
