"""The rows and the plan of a grid, by the selectors of `patch`."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.errors import LabError
from tests.interventions import toy
from tests.interventions.toy import PROMPTS, SHAPE, ToyEngine, patch, report


def plan_of(intervention, shape=SHAPE):
    """The edit sets of the rows on the toy model."""
    return toy.plan_of(intervention, ToyEngine(shape=shape))


def test_plan_is_layer_then_head_then_position():
    plan = plan_of(patch(layer=[1, 0], head=[2], position=["S2", -1]))
    assert [edits[0].site for edits in plan] == [
        Site("z", 1, 2, "S2"), Site("z", 1, 2, -1), Site("z", 0, 2, "S2"), Site("z", 0, 2, -1),
    ]  # fmt: skip
    assert all(isinstance(edits[0], Edit) and edits[0].value == FromPass("clean") for edits in plan)


def test_heads_by_name():
    plan = plan_of(patch(head=["1.2", 0.1]))
    assert [edits[0].site for edits in plan] == [Site("z", 1, 2), Site("z", 0, 1)]
    found = report(patch(head=["1.2", 0.1]), [3, -1])
    assert set(found.draw()) == {"top_effects"}  # two heads are no grid


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"head": ["2.0"]}, r"intervention.head: got 2.0, expected a head from 0.0 to 1.2 \(toy\)"),
        ({"head": "1.7"}, "intervention.head: got 1.7, expected a head from"),
        ({"head": "1.1", "component": "v"}, "intervention.head: got 1.1, expected a key/value head from 0.0 to 1.0"),
        ({"head": "1.2", "layer": 1}, "intervention.layer: got 1, but head names its layers already"),
        (
            {"component": "k", "head": 1},
            "intervention.head: got 1, expected 0 to 0 .* k is addressed by its 1 key/value",
        ),
        ({"sets": "except"}, "intervention.sets: got 'except' of everything"),
        ({"position": ["each", "S2"]}, "intervention.position: got .*each.* alone"),
    ],
)
def test_selectors_that_fit_nothing_are_reported(changes, line):
    with pytest.raises(LabError, match=line):
        plan_of(patch(**changes))


def test_a_number_that_may_be_two_heads_is_reported():
    shape = replace(SHAPE, n_heads=12)
    with pytest.raises(LabError, match=r"may be head 1 or 10; quote it: '1.1'"):
        plan_of(patch(head=1.1), shape)
    plan = plan_of(patch(head=[1.2, "1.10"]), shape)
    assert [edits[0].site.head for edits in plan] == [2, 10]


def test_sets_are_edited_together():
    (together,) = plan_of(patch(head=["1.2", "0.1"], sets="together"))
    assert [edit.site for edit in together] == [Site("z", 1, 2), Site("z", 0, 1)]
    (rest,) = plan_of(patch(head=["1.2", "0.1"], sets="except"))
    assert [(edit.site.layer, edit.site.head) for edit in rest] == [(0, 0), (0, 2), (1, 0), (1, 1)]
    found = report(patch(head=["1.2", "0.1"], sets="except", position=["S2", "END"]), [3, -1])
    assert found.table["sites"].tolist() == ["all but 1.2 0.1"] * 2
    assert found.table["position"].tolist() == ["S2", "END"]
    assert found.table["layer"].isna().all()
    assert found.draw()["top_effects"].axes[0].get_yticklabels()[0].get_text() == "all but 1.2 0.1 @ S2"


CIRCUIT = ["a1.h2->logits", "a0.h0->a1.h2<q>", "a0.h0->m0", "input->a0.h0<q>", "m0->logits", "input->a1.h0<k>"]
"""A circuit of the toy model in which head 1.0 writes to nothing."""


def in_circuit(tmp_path, edges=CIRCUIT, **changes):
    (tmp_path / "circuit.json").write_text(json.dumps({"model": "toy", "edges": edges}))
    return patch(circuit=str(tmp_path / "circuit.json"), **changes)


@pytest.mark.parametrize(
    ("component", "cells"),
    [("z", [(0, 0), (1, 2)]), ("k", [(0, 0), (1, 0)]), ("mlp_out", [(0, None)])],
)
def test_a_circuit_selects_its_heads_or_mlps(tmp_path, component, cells):
    rows = in_circuit(tmp_path, component=component).rows(SHAPE, PROMPTS)
    assert [(site.layer, site.head) for row in rows for site in row.sites] == cells


def test_all_but_a_circuit_is_edited(tmp_path):
    (row,) = in_circuit(tmp_path, component="z", sets="except").rows(SHAPE, PROMPTS)
    assert {(site.layer, site.head) for site in row.sites} == {(0, 1), (0, 2), (1, 0), (1, 1)}


def test_circuits_that_do_not_fit_are_refused_in_one_line(tmp_path):
    for changes, line in (
        ({"layer": 1}, "intervention.layer: got 1, but the circuit has its heads already; expected 'all'"),
        ({"head": "1.2"}, "intervention.head: got 1.2, but the circuit has its heads already; expected 'all'"),
    ):
        with pytest.raises(LabError) as error:
            in_circuit(tmp_path, **changes)
        assert str(error.value) == line
    for edges, component, line in (
        (CIRCUIT, "resid_pre", "circuits have heads and MLPs, but component=resid_pre; expected z or mlp_out"),
        (["a7.h0->logits"], "z", "in the circuit of toy: got 'a7.h0->logits', but toy has no writer 'a7.h0'"),
        (["input->logits"], "z", "the circuit of toy has no heads"),
    ):
        with pytest.raises(LabError, match=rf"^intervention\.circuit: {re.escape(line)}"):
            in_circuit(tmp_path, edges, component=component).rows(SHAPE, PROMPTS)
    with pytest.raises(LabError, match=r"^intervention\.circuit: '.*none\.json' is not a file$"):
        patch(circuit=str(tmp_path / "none.json")).check()
