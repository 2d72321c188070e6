from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.forward import BasePass
from ioi_lab.engine.passes import ALL_LAYERS, Passes, at_site, sites_read, whole_work
from ioi_lab.engine.recordings import RecordingCache
from ioi_lab.errors import LabError
from tests.oracle import activation, edited_end_logits, tokens


@pytest.fixture
def setup(setups):
    model, plain, prompts = setups["tiny-gpt2"]
    rows = next(iter(prompts.buckets().values()))
    passes = Passes(model, 1.0, RecordingCache(1e9), prompts.longest, pair_only=False)
    return passes, plain, Bucket(prompts, rows, model.device)


def test_sites_that_edits_read_are_whole_and_by_pass():
    edits = [
        Edit(Site("z", 1, 3, "END"), "replace", FromPass("clean")),
        Edit(Site("z", 1, 2), "add", FromPass("clean")),
        Edit(Site("q", 0), "replace", FromPass("corrupted")),
        Edit(Site("mlp_out", 0), "add", torch.ones(2)),
        Edit(Site("k", 0), "zero"),
    ]
    expected = {"clean": {Site("z", 1)}, "corrupted": {Site("q", 0)}}
    assert sites_read([edits[:2], edits[2:]]) == expected
    assert sites_read([()]) == {}


def test_the_work_of_a_whole_pass():
    work = whole_work(7, [Edit(Site("z", 2), "zero"), Edit(Site("z", 1), "zero")])
    assert (work.index, work.first, work.start) == (7, 1, 0)
    assert whole_work(0, ()).first == ALL_LAYERS


def test_the_activation_of_a_head_or_of_all_of_them():
    whole = torch.randn(2, 5, 4, 3)
    assert torch.equal(at_site(whole, Site("z", 0), 7), whole.reshape(2, 5, 12))
    assert torch.equal(at_site(whole, Site("z", 0, 2), 7), whole[:, :, 2])
    stream = torch.randn(2, 5, 12)
    assert torch.equal(at_site(stream, Site("resid_pre", 0), 7), stream)


def test_patterns_are_padded_to_the_longest_prompt():
    whole = torch.randn(2, 5, 4, 5)  # [row, query pos, head, key pos]
    head = at_site(whole, Site("pattern", 0, 1), 7)
    assert torch.equal(head[..., :5], whole[:, :, 1])
    assert head.shape == (2, 5, 7)
    assert not head[..., 5:].any()
    assert torch.equal(at_site(whole, Site("pattern", 0), 7).view(2, 5, 4, 7)[:, :, 1], head)


def test_recordings_are_reused_and_extended(setup, monkeypatch):
    passes, plain, bucket = setup
    runs = []
    record = passes.forward.record
    monkeypatch.setattr(passes.forward, "record", lambda *arguments: runs.append(arguments[2]) or record(*arguments))
    first, second = Site("z", 1), Site("mlp_out", 2)
    passes.recording(bucket, "clean", {first})
    passes.recording(bucket, "clean", {first})
    assert runs == [{first}]
    both = passes.recording(bucket, "clean", {second}, cached_from=2)
    assert both.activations.keys() == {first, second}
    assert both.keys_values.keys() == {2, 3}
    passes.recording(bucket, "clean", {first, second}, cached_from=3)
    assert len(runs) == 2
    passes.recording(bucket, "clean", set(), cached_from=1)  # the keys and values of layer 1 are missing
    passes.recording(bucket, "corrupted", {first})
    assert len(runs) == 4
    for row, index in enumerate(bucket.rows):
        pair = bucket.prompts[index]
        for site in (first, second):
            expected = activation(plain, tokens(pair, "clean"), site)
            assert torch.allclose(both.activations[site][row].flatten(1), expected, atol=1e-4)


def test_a_whole_batch_equals_the_plain_model(setup):
    passes, plain, bucket = setup
    edit_sets = [[Edit(Site("z", 1, 2), "zero")], [], [Edit(Site("q", 2), "replace", FromPass("corrupted"))]]
    work = [whole_work(index, edits) for index, edits in enumerate(edit_sets)]
    base, base_logits = passes.base_pass(bucket, work, "clean", [])
    assert base.recorded.keys() == {("corrupted", "blocks.2.attn.hook_q")}
    site = Site("mlp_out", 3)
    logits, captured = passes.run_batch(work, None, base, [site])
    assert captured[site].shape == (3, len(bucket), bucket.length, passes.model.shape.d_model)
    for slot, edits in enumerate(edit_sets):
        for row, index in enumerate(bucket.rows):
            expected = edited_end_logits(plain, bucket.prompts[index], index, edits, "clean")
            assert torch.allclose(logits[slot, row], expected, atol=1e-4)
    assert torch.allclose(logits[1], base_logits, atol=1e-4)


def test_a_batch_that_does_not_fit_the_device_is_reported(setup, monkeypatch):
    passes, _, bucket = setup

    def fail(*arguments, **keywords):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(passes.forward, "whole", fail)
    n = 3 * len(bucket)
    with pytest.raises(LabError, match=rf"engine.memory_gb: got 1.0, but a batch of {n} prompts does not fit"):
        passes.run_batch([whole_work(i, ()) for i in range(3)], None, BasePass(bucket, "clean", {}, {}))
