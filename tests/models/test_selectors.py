"""Selectors: from what a config says to layers, heads and positions."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from ioi_lab.errors import LabError
from ioi_lab.models.selectors import (
    all_but_placed,
    cell_name,
    cells_of,
    check_selectors,
    head_names_in,
    indices_of,
    positions_of,
    shared_position,
)
from ioi_lab.models.shape import ModelShape
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

SHAPE = ModelShape("toy", n_layers=3, n_heads=4, n_kv_heads=2, d_model=12, d_head=3, n_ctx=16)


def pair(length: int, **labels: int) -> PromptPair:
    ids = (0,) * length
    return PromptPair("", "", ("",), ("",), ids, ids, (1,), (2,), {**labels, "END": length - 1}, ("a",) * length)


@pytest.fixture
def prompts():
    """Two prompts of different length, so that an index is not a position that all share."""
    return PromptPairs([pair(5, IO=1, S2=3), pair(4, IO=2, S2=1)])


@pytest.mark.parametrize(
    ("component", "layer", "head", "cells"),
    [
        ("z", "all", "all", list(product(range(3), range(4)))),
        ("k", "all", "all", list(product(range(3), range(2)))),
        ("mlp_out", "all", "all", [(0, None), (1, None), (2, None)]),
        ("z", 1, 2, [(1, 2)]),
        ("z", [2, 0, 2], [1, 1], [(2, 1), (0, 1)]),
        ("resid_pre", [2, 0], "all", [(2, None), (0, None)]),
        ("z", "all", "2.3", [(2, 3)]),
        ("z", "all", ["2.3", 0.1], [(2, 3), (0, 1)]),
    ],
)
def test_layers_and_heads(component, layer, head, cells):
    check_selectors(component, layer, head)
    assert cells_of(component, layer, head, SHAPE) == cells


@pytest.mark.parametrize(
    ("component", "layer", "head", "line"),
    [
        ("z", 3, "all", r"intervention\.layer: got 3, expected 0 to 2 \(toy\)"),
        ("z", [0, 9], "all", r"intervention\.layer: got 9, expected 0 to 2"),
        ("z", 0, [1, 4], r"intervention\.head: got 4, expected 0 to 3 \(toy\)"),
        ("v", 0, 2, r"intervention\.head: got 2, expected 0 to 1 \(toy; v is addressed"),
        ("z", "all", "3.0", r"intervention\.head: got 3\.0, expected a head from 0\.0 to 2\.3"),
    ],
)
def test_what_the_model_does_not_have_is_reported(component, layer, head, line):
    with pytest.raises(LabError, match=f"^{line}"):
        cells_of(component, layer, head, SHAPE)


def test_selectors_that_contradict_each_other_are_reported():
    with pytest.raises(LabError, match=r"head: got 1, but mlp_out has no heads; expected 'all'"):
        check_selectors("mlp_out", "all", 1)
    with pytest.raises(LabError, match=r"layer: got 2, but head names its layers already; expected 'all'"):
        check_selectors("z", 2, ["2.1"])


def test_names_among_heads():
    assert head_names_in(["9.9", 9.6]) == ["9.9", 9.6]
    assert head_names_in(9.6) == [9.6]
    assert head_names_in("all") == head_names_in(3) == head_names_in([0, 1]) == []


def test_indices_count_once():
    assert indices_of("all", 3) == [0, 1, 2]
    assert indices_of(2, 3) == [2]
    assert indices_of([2, 0, 2], 3) == [2, 0]


def test_positions(prompts):
    assert positions_of("all", prompts) == ["all"]
    assert positions_of(["S2", -1, "S2"], prompts) == ["S2", -1]
    assert positions_of("each", prompts) == ["IO", "S2", "END"]
    aligned = PromptPairs([pair(3), pair(3)])
    assert positions_of("each", aligned) == [0, 1, 2]
    with pytest.raises(LabError, match=r"intervention\.position: got 'S1', expected one of all, each, IO, S2, END, or"):
        positions_of("S1", prompts)
    with pytest.raises(LabError, match=r"'each' stands for every position, alone"):
        positions_of(["each", "S2"], prompts)


def test_names_for_titles(prompts):
    assert cell_name(9, 6) == "9.6"
    assert cell_name(9, None) == "layer 9"
    assert shared_position(["S2", "S2"], prompts) == " at S2"
    assert shared_position(["all"], prompts) == shared_position(["S2", "END"], prompts) == ""


def test_all_layers_are_those_that_have_the_component():
    """In hybrid models, only some layers have attention."""
    hybrid = replace(SHAPE, missing=frozenset({("z", 0), ("z", 2)}))
    assert cells_of("z", "all", "all", hybrid) == [(1, head) for head in range(4)]
    assert cells_of("mlp_out", "all", "all", hybrid) == [(0, None), (1, None), (2, None)]
    assert {cell[0] for cell in all_but_placed([(1, 0, "all")], "z", hybrid)} == {1}
    with pytest.raises(LabError, match=r"^intervention\.layer: got 2, a layer of toy without z; expected one of 1$"):
        cells_of("z", [1, 2], 0, hybrid)
    with pytest.raises(LabError, match=r"^intervention\.head: got 0\.1, but of toy only these layers have z: 1$"):
        cells_of("z", "all", ["0.1"], hybrid)
