from __future__ import annotations

from dataclasses import replace

import pytest

from ioi_lab.engine.batching import SHORTCUTS, Work, batches, part_of, part_to_capture, works
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.forward import Part
from tests.engine.toy import SHAPE, bucket

NOTHING = Edit(Site("z", 1, position="BOS"), "replace", FromPass("corrupted"))  # the same token in both passes


def zero(component, layer, position="all"):
    return Edit(Site(component, layer, position=position), "zero")


def part(*edits, shape=SHAPE):
    return part_of(works(bucket(), [edits], "clean", shape), shape)


@pytest.mark.parametrize(
    ("component", "attention", "keep_mlp"),
    [
        ("resid_pre", "run", False),
        ("q", "run", False),
        ("v", "run", False),
        ("pattern", "run", False),
        ("z", "from_z", False),
        ("attn_out", "keep", False),
        ("resid_mid", "keep", False),
        ("mlp_out", "keep", True),
    ],
)
def test_the_part_of_a_pass_that_an_edit_needs(component, attention, keep_mlp):
    expected = Part(first=1, last=3, start=2, attention=attention, keep_mlp=keep_mlp, end_only=True)
    assert part(zero(component, 1, "S2")) == expected


@pytest.mark.parametrize(("component", "keep_mlp"), [("resid_pre", False), ("q", True), ("z", True), ("mlp_out", True)])
def test_in_parallel_blocks_only_the_input_reaches_the_mlp(component, keep_mlp):
    assert part(zero(component, 1), shape=replace(SHAPE, parallel=True)).keep_mlp == keep_mlp


def test_smaller_shortcuts_leave_out_less():
    edits = [zero("mlp_out", 1, "S2")]
    found = {}
    for shortcut in SHORTCUTS:
        todo = works(bucket(), [edits], "clean", SHAPE, shortcut)
        found[shortcut] = part_of(todo, SHAPE, shortcut)
        assert todo[0].start == found[shortcut].start  # by which batches are sized
    assert found == {
        "sublayers": Part(1, 3, start=2, attention="keep", keep_mlp=True, end_only=True),
        "positions": Part(1, 3, start=2, end_only=True),
        "blocks": Part(1, 3),
    }


def test_to_capture_activations_every_position_is_run():
    todo = works(bucket(), [[zero("mlp_out", 1, "S2")]], "clean", SHAPE)
    assert part_to_capture(todo, [Site("z", 2), Site("q", 3)]) == Part(1, 3)
    assert part_to_capture(todo, [Site("z", 0)]) == Part(0, 0)


def test_a_part_begins_with_the_earliest_edit_of_a_set():
    together = part(zero("mlp_out", 2, "END"), zero("z", 1, "END"), zero("resid_pre", 3, "S2"))
    assert (together.first, together.start, together.attention) == (1, 2, "from_z")


def test_a_part_reads_what_it_leaves_out():
    assert part(zero("mlp_out", 0)).reads() == [Site("attn_out", 0), Site("mlp_out", 0)]
    assert part(zero("z", 2)).reads() == [Site("resid_pre", 2), Site("z", 2)]
    assert part(zero("q", 2)).reads() == [Site("resid_pre", 2)]


def test_the_output_of_a_block_is_edited_as_the_input_of_the_next():
    ((work,), (last,)) = (works(bucket(), [[zero("resid_post", layer)]], "clean", SHAPE) for layer in (1, 3))
    assert (work.first, work.edits[0].site) == (2, Site("resid_pre", 2))
    assert (last.first, last.edits[0].site) == (3, Site("resid_post", 3))


def test_edit_sets_that_change_nothing_need_no_work():
    late = zero("mlp_out", 3, "S2")  # read by nothing
    keys = zero("k", 3, "S2")  # read by END
    found = works(bucket(), [[], [NOTHING], [late], [NOTHING, late], [keys]], "clean", SHAPE)
    assert [(work.index, work.first, work.start) for work in found] == [(4, 3, 2)]


def test_an_edit_without_effect_is_kept_after_one_that_has_an_effect():
    """It may write back what the earlier one changed."""
    earlier, later = zero("resid_pre", 0), zero("z", 2, "END")
    ((before, after),) = (works(bucket(), [[NOTHING, later], [NOTHING, earlier]], "clean", SHAPE),)
    assert (before.edits, before.first, before.start) == ([later], 2, 4)
    assert (after.edits, after.first, after.start) == ([earlier, NOTHING], 0, 0)


def work(index, first=1, start=0):
    return Work(index, [], first, start)


def batched(todo, device="cpu", max_slots=10**6):
    bounds = max_slots if callable(max_slots) else lambda start: max_slots
    return [[work.index for work in batch] for batch in batches(todo, bucket(), device, bounds)]


def test_batches_are_as_large_as_memory_allows():
    assert batched([work(i) for i in range(7)], max_slots=3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert batched([]) == []


def test_a_batch_has_at_most_the_tokens_that_gain_something():
    sizes = [len(batch) for batch in batched([work(i) for i in range(600)])]
    assert sizes == [256, 256, 88]  # 2560 tokens / (2 prompts × 5 positions)
    sizes = [len(batch) for batch in batched([work(i, start=4) for i in range(2000)])]
    assert sizes == [1280, 720]  # 2560 / (2 × 1)


def test_sets_that_need_different_parts_share_a_batch_until_the_device_is_busy():
    few = [work(0, first=2), work(1, first=1)]
    assert batched(few) == [[1, 0]]
    many = [work(i, first=1) for i in range(20)] + [work(20, first=2)]  # 192 tokens on a CPU: 19.2 slots of 10
    assert batched(many) == [list(range(20)), [20]]
    assert batched(many[1:]) == [list(range(1, 21))]
    assert batched(many, device="cuda") == [list(range(21))]
    assert batched(many, device="mps") == [list(range(21))]  # as a card


def test_memory_is_asked_for_the_earliest_start_of_the_batch():
    asked = []

    def slots(start):
        asked.append(start)
        return 2

    assert batched([work(0, 1, start=3), work(1, 2, start=1), work(2, 2, start=4)], max_slots=slots) == [[0, 1], [2]]
    assert asked == [1, 1]
