from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site, check_pass
from ioi_lab.errors import LabError
from ioi_lab.models.shape import ModelShape
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

SHAPE = ModelShape("toy", n_layers=4, n_heads=4, n_kv_heads=2, d_model=12, d_head=3, n_ctx=16)
PAIR = PromptPair("x", "y", (" a",), (" b",), (0, 1, 2), (0, 2, 1), (1,), (2,), {"BOS": 0, "END": 2}, ("", "x", "y"))
PROMPTS = PromptPairs([PAIR, PAIR])


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (Edit(Site("pattern_", 0), "zero"), "component: got 'pattern_', expected one of resid_pre,"),
        (Edit(Site("z", 4), "zero"), r"layer: got 4, expected 0 to 3 \(toy\)"),
        (Edit(Site("z", 0, -1), "zero"), "head: got -1, expected 0 to 3"),
        (Edit(Site("mlp_out", 0, 1), "zero"), "head: got 1, but mlp_out has no heads"),
        (Edit(Site("v", 0, 2), "zero"), r"head: got 2, expected 0 to 1 \(toy; v is addressed by its 2 key/value heads"),
        (Edit(Site("z", 0, position="S2"), "zero"), "position: got 'S2', expected one of all, BOS, END"),
        (Edit(Site("z", 0, position=3), "zero"), "position: got 3, expected an index from -3 to 2"),
        (Edit(Site("z", 0), "replace"), "value: replace needs value"),
        (Edit(Site("z", 0), "zero", FromPass("clean")), "value: zero takes no value"),
        (
            Edit(Site("z", 0, 1), "add", torch.zeros(12)),
            r"value: got shape \[12\], expected \[3\], \[2, 3\] or \[2, 3, 3\]",
        ),
        (Edit(Site("z", 0), "add", torch.zeros(3, 12)), r"expected \[12\], \[2, 12\] or"),
    ],
)
def test_an_edit_that_cannot_be_made_is_reported(edit, line):
    with pytest.raises(LabError, match=line):
        edit.check(SHAPE, PROMPTS)


def test_edits_that_can_be_made_pass():
    Edit(Site("z", 3, 3, -3), "replace", FromPass("clean")).check(SHAPE, PROMPTS)
    Edit(Site("k", 0), "add", torch.zeros(2, 6)).check(SHAPE, PROMPTS)
    Edit(Site("pattern", 0, 3), "replace", torch.zeros(2, 3, 3)).check(SHAPE, PROMPTS)
    Edit(Site("z", 0), "add", torch.zeros(2, 12)).check(SHAPE, PROMPTS)
    Edit(Site("resid_post", 0, position="END"), "scale", scale=2).check(SHAPE, PROMPTS)


def test_parallel_blocks_have_no_stream_between_attention_and_mlp():
    with pytest.raises(
        LabError, match="component: got 'resid_mid', but the blocks of toy run attention and MLP in para"
    ):
        Edit(Site("resid_mid", 0), "zero").check(replace(SHAPE, parallel=True), PROMPTS)


def test_there_are_two_passes():
    with pytest.raises(LabError, match=r"^FromPass: got 'cleen', expected one of clean, corrupted$"):
        FromPass("cleen")
    check_pass("corrupted", "base")
