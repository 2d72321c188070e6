from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.patch import Patch
from tests.conftest import ioi_task

SELECTORS = {"component": "z", "layer": "all", "head": "all", "position": "all", "sets": "each"}
PATCH = {"name": "patch", "direction": "denoise", **SELECTORS}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"n": "many"}, "task.n: got 'many', expected a valid integer"),
        ({"n": True}, "task.n: got True, expected a valid integer"),
        ({"n": 0}, "task.n: got 0, expected greater than or equal to 1"),
        ({"order": "aabb"}, "task.order: got 'aabb', expected 'abba', 'baba' or 'mixed'"),
        ({"template": 99}, "task.template: got 99, expected 'all' or less than 16"),
        ({"sed": 1}, "task.sed: no such key"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_the_choices(changes, line):
    with pytest.raises(LabError) as caught:
        ioi_task(**changes)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"layer": -1}, "intervention.layer: got -1, expected 'all' or greater than or equal to 0"),
        ({"layer": "x"}, "intervention.layer: got 'x', expected 'all' or a valid integer or a valid list"),
        ({"head": []}, "intervention.head: got []"),
        ({"head": 2, "component": "mlp_out"}, "intervention.head: got 2, but mlp_out has no heads; expected 'all'"),
        ({"component": "w"}, "expected 'resid_pre', 'q', 'k', 'v', 'pattern', 'z', 'attn_out', 'resid_mid', 'mlp_out'"),
        ({"head": "a.b"}, "intervention.head: got 'a.b', expected 'all' or"),
        ({"head": "a.b"}, "the name of a head, such as '9.9'"),
        ({"head": [1, "2.0"]}, "intervention.head"),
        ({"head": 1e-5}, "intervention.head: got 1e-05"),
        ({"head": 2.05}, "intervention.head: got 2.05"),
        ({"sets": "both"}, "intervention.sets: got 'both', expected 'each', 'together' or 'except'"),
    ],
)
def test_selectors_are_checked(changes, line):
    with pytest.raises(LabError) as caught:
        Patch.from_config(PATCH | changes, "intervention")
    assert line in str(caught.value)


def test_a_missing_key_is_told():
    with pytest.raises(LabError, match=r"^intervention\.component: this key is missing$"):
        Patch.from_config({key: value for key, value in PATCH.items() if key != "component"}, "intervention")
