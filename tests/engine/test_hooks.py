"""Hooks of edits on tensors of a few numbers, against the same edits written out."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.hooks import apply, by_position, edit_hooks
from tests.engine.toy import PROMPTS, SHAPE, bucket


def activation(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def applied(edit, before, recorded=None):
    after = before.clone()
    apply(edit, after, bucket(), recorded or {})
    return after


OPERATIONS = {
    "replace": lambda old, value, scale: value,
    "add": lambda old, value, scale: old + scale * value,
    "scale": lambda old, value, scale: scale * old,
    "zero": lambda old, value, scale: 0 * old,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("position", ["all", "S2", -1])
@pytest.mark.parametrize("head", [None, 2])
@pytest.mark.parametrize("kind", ["vector", "per prompt", "per position", "pass"])
@pytest.mark.parametrize("offset", [0, 3])
def test_each_operation_with_each_shape_of_value(operation, position, head, kind, offset):
    site = Site("z", 0, head, position)
    width, heads = site.width(SHAPE, PROMPTS.longest), [head] if head is not None else range(4)
    recorded = {("corrupted", site.hook): activation(2, 5, 4, 3, seed=1)}
    sizes = {"vector": [width], "per prompt": [3, width], "per position": [3, 5, width]}
    value = activation(*sizes[kind], seed=2) if kind in sizes else FromPass("corrupted")
    takes_value = operation in ("replace", "add")
    edit = Edit(site, operation, value if takes_value else None, scale=-2.5)
    before = activation(2, 5, 4, 3)
    expected = before.clone()
    for row, prompt in enumerate((0, 2)):
        for place in PROMPTS[prompt].positions(position):
            for i, h in enumerate(heads):
                if kind == "pass":
                    written = recorded["corrupted", site.hook][row, place, h]
                else:
                    given = {"vector": (), "per prompt": (prompt,), "per position": (prompt, place)}[kind]
                    written = value[given][3 * i : 3 * i + 3]
                expected[row, place, h] = OPERATIONS[operation](before[row, place, h], written, -2.5)
    assert torch.allclose(applied(edit, before[:, offset:], recorded), expected[:, offset:])


def test_a_pattern_gets_as_many_keys_as_there_are():
    weights = activation(1, 3, 4, 3)  # [row, query pos, head, key pos] of the prompt of 3 tokens
    value = activation(5, seed=1)  # the longest prompt has 5
    after = weights.clone()
    apply(Edit(Site("pattern", 0, 1, "END"), "replace", value), after, bucket((1,)), {})
    assert torch.equal(after[0, 2, 1], value[:3])
    after[0, 2, 1] = weights[0, 2, 1]
    assert torch.equal(after, weights)


def test_patterns_have_the_query_position_second():
    weights = activation(2, 4, 5, 6)
    assert by_position(weights, Site("pattern", 0)).shape == (2, 5, 4, 6)
    assert by_position(weights, Site("z", 0)) is weights


def test_each_slot_gets_its_own_edits_in_their_order():
    add, double = Edit(Site("mlp_out", 1), "add", torch.ones(12)), Edit(Site("mlp_out", 1), "scale", scale=2)
    hooks = edit_hooks([[add, double], [], [double, add]], bucket(), {})
    ((name, write),) = hooks
    assert name == "blocks.1.hook_mlp_out"
    before = activation(6, 5, 12)  # 3 slots × 2 rows
    after = write(before, None)
    assert torch.allclose(after[:2], 2 * (before[:2] + 1))
    assert torch.equal(after[2:4], before[2:4])
    assert torch.allclose(after[4:], 2 * before[4:] + 1)
    assert torch.equal(before, activation(6, 5, 12))  # the model's own tensor is left alone


def test_hooks_come_in_the_order_of_the_pass():
    edits = [Edit(Site(c, layer), "zero") for c, layer in (("mlp_out", 1), ("z", 2), ("resid_pre", 1), ("v", 0))]
    names = [name for name, _ in edit_hooks([edits], bucket(), {})]
    assert names == ["blocks.0.attn.hook_v", "blocks.1.hook_resid_pre", "blocks.1.hook_mlp_out", "blocks.2.attn.hook_z"]


def test_a_change_of_the_middle_of_the_stream_is_carried_to_the_output_of_the_block():
    (change_at, change), (carry_at, carry) = edit_hooks([[Edit(Site("resid_mid", 1), "scale", scale=3)]], bucket(), {})
    assert (change_at, carry_at) == ("blocks.1.hook_resid_mid", "blocks.1.hook_resid_post")
    stream, output = activation(2, 5, 12), activation(2, 5, 12, seed=1)
    assert torch.allclose(change(stream, None), 3 * stream)
    assert torch.allclose(carry(output, None), output + 2 * stream)
    assert torch.equal(output, activation(2, 5, 12, seed=1))  # the model's own tensor is left alone


def test_a_middle_at_end_alone_is_carried_to_end_alone():
    """Of the last block, the second norm or the MLP may run at END alone."""
    (_, change), (_, carry) = edit_hooks([[Edit(Site("resid_mid", 1), "scale", scale=3)]], bucket(), {})
    stream, output = activation(2, 1, 12), activation(2, 5, 12, seed=1)
    change(stream, None)
    assert torch.equal(carry(output, None)[:, :-1], output[:, :-1])
    assert torch.allclose(carry(output, None)[:, -1:], output[:, -1:] + 2 * stream)
