"""Whole passes and parts of them against the plain model, and a count of what parts compute."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.forward import BasePass, Forward, Part
from ioi_lab.engine.hooks import edit_hooks
from ioi_lab.errors import LabError
from tests.conftest import ARCHITECTURES
from tests.engine.helpers import Calls
from tests.oracle import activation, edited_end_logits, tokens


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


def test_components_are_whole_again_after_an_error(setups):
    model, _, prompts = setups["tiny-gpt2"]
    before = Engine(model, prompts).baseline("clean")
    too_much = Edit(Site("resid_pre", 3), "add", torch.full((model.shape.d_model,), torch.nan))
    with pytest.raises(LabError, match="not finite"):
        Engine(model, prompts).run([(too_much,)], "clean", progress=False)
    assert not any("forward" in vars(module) for module in model.bridge.modules())
    assert (Engine(model, prompts).baseline("clean").logit_diff == before.logit_diff).all()


@pytest.fixture(params=ARCHITECTURES)
def one_length(request, setups):
    """The passes of a model, the plain one, and a bucket of two prompts."""
    model, plain, prompts = setups[request.param]
    return Forward(model), plain, Bucket(prompts, next(iter(prompts.buckets().values())), model.device)


@torch.no_grad()
def test_a_recording_equals_the_plain_model(one_length):
    forward, plain, bucket = one_length
    site = Site("z", 1)
    recording = forward.record(bucket, "corrupted", {site}, cached_from=1)
    assert recording.keys_values.keys() == set(range(1, forward._n_layers))
    for row, index in enumerate(bucket.rows):
        ids = tokens(bucket.prompts[index], "corrupted")
        output = plain(ids, use_cache=True)
        assert torch.allclose(recording.end_logits[row], output.logits[0, -1], atol=1e-4)
        assert torch.allclose(recording.activations[site][row].flatten(1), activation(plain, ids, site), atol=1e-4)
        for layer, (keys, values) in recording.keys_values.items():
            assert torch.allclose(keys[row], output.past_key_values.layers[layer].keys[0], atol=1e-4)
            assert torch.allclose(values[row], output.past_key_values.layers[layer].values[0], atol=1e-4)


def test_what_is_recorded_can_be_asked_for(one_length):
    forward, _, bucket = one_length
    site, n_layers = Site("z", 1), forward._n_layers
    recording = forward.record(bucket, "clean", {site}, cached_from=1)
    assert recording.has({site}, 1, n_layers)
    assert recording.has(set(), None, n_layers)
    assert not recording.has({Site("z", 0)}, None, n_layers)
    assert not recording.has({site}, 0, n_layers)
    tensors = [recording.activations[site], recording.end_logits]
    tensors += [tensor for pair in recording.keys_values.values() for tensor in pair]
    assert recording.bytes == sum(tensor.numel() * 4 for tensor in tensors)


@pytest.mark.parametrize(
    ("site", "part"),
    [
        (Site("resid_pre", 1, position=4), Part(1, 2, start=4, end_only=True)),
        (Site("z", 1, 0, 4), Part(1, 2, start=4, attention="from_z", end_only=True)),
        (Site("attn_out", 1), Part(1, 2, attention="keep")),
        (Site("mlp_out", 1, position=4), Part(1, 2, start=2, attention="keep", keep_mlp=True)),
        (Site("q", 0), Part(0, 2)),
    ],
)
@torch.no_grad()
def test_a_part_gives_the_logits_of_the_plain_model(one_length, site, part):
    forward, plain, bucket = one_length
    parallel = plain.config.model_type == "gpt_neox"
    keep_mlp = part.keep_mlp or (parallel and site.component in ("z", "attn_out"))
    part = Part(part.first, forward._n_layers - 1, part.start, part.attention, keep_mlp, part.end_only)
    recording = forward.record(bucket, "clean", set(part.reads()), cached_from=part.first)
    recorded = {("clean", read.hook): recording.activations[read] for read in part.reads()}
    base = BasePass(bucket, "clean", recorded, recording.keys_values)
    edit_sets = [[Edit(site, "scale", scale=-1.5)], [], [Edit(site, "zero")]]
    hooks = edit_hooks(edit_sets, bucket, recorded)
    logits = forward.part(base, part, hooks, 3, pair_only=False)
    pairs = forward.part(base, part, hooks, 3, pair_only=True)
    for slot, edits in enumerate(edit_sets):
        for row, index in enumerate(bucket.rows):
            pair = bucket.prompts[index]
            expected = edited_end_logits(plain, pair, index, edits, "clean")
            assert torch.allclose(logits[slot, row], expected, atol=1e-4)
            assert torch.allclose(pairs[slot, row], expected[[pair.answer_id, pair.distractor_id]], atol=1e-4)
