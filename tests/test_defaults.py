"""The defaults in the signatures of config classes are those of the YAML files, so that Python and Hydra agree."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ioi_lab.cli.keys import CLASS_OF_GROUP
from ioi_lab.config import _OLD_TARGETS, CONFIG_FOLDER
from ioi_lab.models.loading import ModelConfig
from ioi_lab.runs.tracking import TrackerConfig

GROUPS = ("intervention", "task", "model", "tracker", "alignment", "corpus", "lens")
FILES = [path for group in GROUPS for path in sorted((CONFIG_FOLDER / group).glob("*.yaml"))]

DECIDED = {
    "model": {"name", "source", "path", "revision"},
    "tracker/wandb": {"name"},
    "alignment/affine_trained": {"method", "layers"},
    "alignment/anchors": {"method"},
    "alignment/lowrank": {"method"},
    "alignment/mean_shift": {"method"},
    "alignment/mlp": {"method", "layers"},
    "alignment/procrustes": {"method"},
    "corpus/task": {"task"},
    "intervention/knockout": {"name", "sets", "method", "reference", "random_sets"},
}
"""Keys that tell an option from the others of its group, by group or by file: no signature can have their values."""


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text().replace("${seed}", "0"))
    assert isinstance(content, dict)
    return content


def class_of(path: Path) -> type[BaseModel]:
    target = read(path).get("_target_")
    presets = [entry for entry in read(path).get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    if target is None and presets:  # other values of the keys of another option
        return class_of(path.with_name(f"{presets[0]}.yaml"))
    if target is None:
        return CLASS_OF_GROUP[path.parent.name]
    cls = pkgutil.resolve_name(_OLD_TARGETS.get(target, target))
    assert issubclass(cls, BaseModel)
    return cls


def fields_of(path: Path) -> dict[str, FieldInfo]:
    """The fields of an option's class by their keys in configs."""
    return {field.alias or key: field for key, field in class_of(path).model_fields.items()}


def decided(path: Path) -> set[str]:
    return DECIDED.get(path.parent.name, set()) | DECIDED.get(f"{path.parent.name}/{path.stem}", set())


def composed(path: Path) -> set[str]:
    """The keys that an option takes from other groups (`/model@source: tiny-gpt2`) or another option (`ridge`)."""
    keys: set[str] = set()
    for entry in read(path).get("defaults", []):
        if isinstance(entry, dict):
            keys |= {str(group).rpartition("@")[2] for group in entry}
        elif entry != "_self_":
            keys |= set(read(path.with_name(f"{entry}.yaml")))
    return keys


def plain(value: Any) -> Any:
    """A default as YAML would have it."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def own_keys(path: Path) -> dict[str, Any]:
    return {key: value for key, value in read(path).items() if key not in ("_target_", "defaults")}


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_defaults_in_signatures_are_those_of_the_yaml(path):
    fields = fields_of(path)
    unknown = {key for key in own_keys(path) if key not in fields}
    assert unknown == set()
    compared = {key: value for key, value in own_keys(path).items() if key not in decided(path) and value != "???"}
    required = {key for key in compared if fields[key].is_required()}
    assert required == set(), "these keys have a value in the YAML and no default in the signature"
    assert {key: plain(fields[key].get_default(call_default_factory=True)) for key in compared} == compared


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_a_user_must_give_is_required_in_both(path):
    fields = fields_of(path)
    marked = {key for key, value in own_keys(path).items() if value == "???"}
    assert {key for key in marked if not fields[key].is_required()} == set()
    given = {key for key, value in own_keys(path).items() if value != "???"} | composed(path)
    assert {key for key, field in fields.items() if field.is_required()} - given == marked


@pytest.mark.parametrize("path", [path for path in FILES if name(path) != "tracker/none"], ids=name)
def test_every_key_of_a_class_is_in_its_yaml(path):
    """Hydra lets users set only the keys that a YAML file has."""
    assert set(fields_of(path)) == set(own_keys(path)) | composed(path) - {"_target_", "defaults"}


def test_the_exceptions_name_files_and_keys_that_exist():
    for place, keys in DECIDED.items():
        files = [path for path in FILES if place in (path.parent.name, name(path))]
        assert files
        for path in files:
            assert keys <= set(own_keys(path))


def test_configs_can_be_made_in_python():
    from ioi_lab.interventions.patch import Patch
    from ioi_lab.tasks.ioi import IOITask
    from ioi_lab.tasks.pairs import PairsTask

    task = IOITask(n=8)
    assert (task.n, task.seed, task.order, task.corruption, task.template) == (8, 0, "mixed", "s2", "all")
    assert PairsTask(path="mine.csv").title == "pairs"
    assert Patch(component="z").title == "patch z"
    model = ModelConfig(source="tiny", path="tiny-gpt2")
    assert (model.device, model.dtype, model.prepend_bos, model.label) == ("auto", "float32", True, "tiny-gpt2")
    assert TrackerConfig().name == "none"
