"""Names of heads, as people and YAML write them."""

from __future__ import annotations

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from ioi_lab.errors import LabError
from ioi_lab.models.heads import HeadName, head_name, head_of, heads_of
from ioi_lab.models.shape import ModelShape

SHAPE = ModelShape("toy", n_layers=12, n_heads=12, n_kv_heads=2, d_model=24, d_head=2, n_ctx=16)
KEY = "intervention.head"


def test_names_and_heads_are_one_to_one():
    for layer in range(SHAPE.n_layers):
        for head in range(SHAPE.n_heads):
            assert head_of(head_name((layer, head)), SHAPE, "z", KEY) == (layer, head)


@pytest.mark.parametrize(("text", "head"), [("9.6", (9, 6)), ("11.0", (11, 0)), ("0.9", (0, 9)), ("3.2", (3, 2))])
def test_a_number_that_can_be_one_head_only_is_that_head(text, head):
    number = yaml.safe_load(text)
    assert isinstance(number, float)
    assert head_of(number, SHAPE, "z", KEY) == head


@pytest.mark.parametrize("text", ["9.1", "9.10"])
def test_a_number_that_may_be_two_heads_is_refused(text):
    """YAML reads both as 9.1; with fewer than eleven heads there is only one."""
    with pytest.raises(LabError, match=r"^intervention\.head: got 9\.1, which may be head 1 or 10; quote it: '9\.1'$"):
        head_of(yaml.safe_load(text), SHAPE, "z", KEY)
    small = ModelShape("toy", n_layers=12, n_heads=10, n_kv_heads=10, d_model=20, d_head=2, n_ctx=16)
    assert head_of(yaml.safe_load(text), small, "z", KEY) == (9, 1)


@pytest.mark.parametrize(
    ("name", "component", "line"),
    [
        ("12.0", "z", r"got 12\.0, expected a head from 0\.0 to 11\.11 \(toy\)"),
        ("0.12", "q", r"got 0\.12, expected a head from 0\.0 to 11\.11 \(toy\)"),
        ("0.2", "k", r"got 0\.2, expected a key/value head from 0\.0 to 11\.1 \(toy\)"),
    ],
)
def test_a_head_that_the_model_does_not_have_is_reported(name, component, line):
    with pytest.raises(LabError, match=f"^intervention\\.head: {line}$"):
        head_of(name, SHAPE, component, KEY)


def test_each_head_counts_once_in_the_order_given():
    assert heads_of(["9.6", 9.9, "9.6", "0.1"], SHAPE, "z", KEY) == [(9, 6), (9, 9), (0, 1)]


@pytest.mark.parametrize("value", ["9", "9.", ".9", "09.6", "9.06", "a.b", "9.6.1", "-1.0", 3, None, 1e-5, True])
def test_what_is_not_a_name_is_refused(value):
    with pytest.raises(ValidationError, match=r"the name of a head, such as '9\.9'"):
        TypeAdapter(HeadName).validate_python(value)
