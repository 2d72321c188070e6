from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.config import _OLD_TARGETS, LabConfig, Renamed, check_targets, instantiate
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.patch import Patch
from ioi_lab.models.loading import ModelConfig
from ioi_lab.tasks.prompts import Task
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
def test_a_wrong_value_is_reported_with_its_key_and_the_choices(changes, line):
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


def test_a_missing_key_is_reported():
    with pytest.raises(LabError, match=r"^model\.path: this key is missing$"):
        ModelConfig.from_config({"source": "folder"}, "model")


class Measuring(LabConfig):
    """A config whose keys had other names."""

    renamed_keys: ClassVar = {
        "site": Renamed("component"),
        "method": Renamed("through", {"linear": "maps", "logit": "vocabulary"}),
    }

    component: str = "z"
    through: str = "maps"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"site": "resid_pre"}, ("resid_pre", "maps")),
        ({"site": "q", "method": "logit"}, ("q", "vocabulary")),
        ({"method": "head"}, ("z", "head")),
        ({"component": "k", "through": "linear"}, ("k", "linear")),
    ],
)
def test_keys_of_earlier_versions_are_read(values, expected):
    """An old key gets its new name, and its value the new one if that has changed too; new keys stay as they are."""
    original = dict(values)
    config = Measuring.from_config(values, "intervention")
    assert (config.component, config.through) == expected
    assert values == original


def test_an_old_key_next_to_the_new_one_is_refused():
    with pytest.raises(LabError, match=r"^intervention\.site: this key is now intervention\.component$"):
        Measuring.from_config({"site": "q", "component": "z"}, "intervention")


def test_a_wrong_value_of_an_old_key_is_reported_under_the_new_one():
    with pytest.raises(LabError, match=r"^intervention\.component: got 3, expected a valid string$"):
        Measuring.from_config({"site": 3}, "intervention")


def test_a_new_key_may_have_the_name_of_an_old_one():
    """`vector` was a method and is a file now: what is a field is never renamed."""

    class Reused(LabConfig):
        renamed_keys: ClassVar = {"vector": Renamed("vector_method")}
        vector: str | None = None
        vector_method: str = "mean_difference"

    config = Reused.from_config({"vector": "a.safetensors"}, "intervention")
    assert (config.vector, config.vector_method) == ("a.safetensors", "mean_difference")


@pytest.mark.parametrize(("old", "new"), _OLD_TARGETS.items())
def test_classes_that_have_moved_are_found_by_their_old_names(old, new):
    """The new name is that of a class, so that an earlier run's `config.yaml` gets past its `_target_`."""
    with pytest.raises(LabError, match=r"^intervention\.no_such_key: no such key$"):
        instantiate({"_target_": old, "no_such_key": 1}, "intervention", Intervention)
    assert new.rpartition(".")[2] == old.rpartition(".")[2]


@pytest.mark.parametrize(
    "target",
    [
        "ioi_lab.nowhere.Thing",
        "ioi_lab.interventions.patch.Nothing",
        "ioi_lab.tasks.ioi.IOITask",
        "ioi_lab.config.Path",
    ],
)
def test_a_target_that_is_not_of_the_group_is_refused(target):
    with pytest.raises(
        LabError, match=r"^intervention\._target_: got .*, expected the full name of a class that inherits"
    ):
        instantiate({"_target_": target}, "intervention", Intervention)


KEYS = st.sampled_from(["name", "task", "_args_", "x"])
TARGETS = st.sampled_from(
    ["os.system", "ioi_labs.X", "ioi_lab.__main__.X", "ioi_lab.os:system", "${name}", "", " ", 3, None]
)


def nested(leaf):
    """Values with the leaf somewhere in them, next to harmless ones."""
    harmless = st.none() | st.text(max_size=3) | st.just({"_target_": "ioi_lab.tasks.ioi.IOITask"})
    one = st.recursive(leaf, lambda inner: inner.map(lambda value: [value]) | st.builds(dict, x=inner), max_leaves=4)
    return st.builds(lambda key, value, other: {"a": other, key: [other, value]}, KEYS, one, harmless)


@settings(max_examples=50, deadline=None)
@given(nested(st.builds(dict, _target_=TARGETS)))
def test_a_class_that_is_not_trusted_is_found_wherever_it_is_named(content):
    with pytest.raises(LabError, match=r"_target_: got .*, expected (a name in ioi_lab|the full name|a dotted name)"):
        check_targets(content)


@pytest.mark.parametrize("plugins", ["", "own_tasks", " own_tasks.parts , other,"])
def test_a_class_of_ones_own_is_imported_if_its_package_is_named(monkeypatch, tmp_path, plugins):
    (tmp_path / "own_tasks").mkdir()
    (tmp_path / "own_tasks" / "parts.py").write_text(
        "from ioi_lab.tasks.ioi import IOITask\nclass Own(IOITask): pass\n"
    )
    (tmp_path / "own_tasks_2.py").write_text("from own_tasks.parts import Own\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("IOI_LAB_PLUGINS", plugins)
    own = {"_target_": "own_tasks.parts.Own", "n": 3}
    if plugins:
        assert instantiate(own, "task", Task).n == 3
    else:
        with pytest.raises(
            LabError, match=r"^task\._target_: got 'own_tasks\.parts\.Own', expected a name in ioi_lab, or"
        ):
            instantiate(own, "task", Task)
    with pytest.raises(LabError, match="IOI_LAB_PLUGINS=own_tasks_2"):
        instantiate(own | {"_target_": "own_tasks_2.Own"}, "task", Task)


@pytest.mark.parametrize(("line", "reason"), [("import nothing_here", "No module named"), ("def", "invalid syntax")])
def test_a_module_of_ones_own_that_cannot_be_imported_is_reported_with_the_reason(monkeypatch, tmp_path, line, reason):
    (tmp_path / "own_broken.py").write_text(line)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("IOI_LAB_PLUGINS", "own_broken")
    with pytest.raises(LabError, match=rf"inherits Task \(cannot import 'own_broken': {reason}"):
        instantiate({"_target_": "own_broken.Task"}, "task", Task)
