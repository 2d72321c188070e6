"""The keys of transfer: old ones can be run again, wrong ones are one line, defaults are those of the YAML."""

from __future__ import annotations

import json

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ioi_lab.config import CONFIG_FOLDER, instantiate
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.transfer.config import Transfer
from tests.conftest import only_run_folder, run_folders

OLD_NAMES = {"maps": "linear", "vocabulary": "logit", "head": "functional"}


def old_config(config):
    """A resolved config as earlier versions wrote it."""
    old = dict(config, _target_="ioi_lab.interventions.transfer.Transfer")
    old["method"] = OLD_NAMES[old.pop("through")]
    old["vector"] = old.pop("vector_method")
    old["alignment"] = dict(old["alignment"])
    old["alignment"]["site"] = old["alignment"].pop("component")
    return old


@pytest.fixture
def from_yaml():
    with initialize_config_dir(str(CONFIG_FOLDER), version_base=None):
        composed = compose("sweep", ["intervention=transfer"])
    return OmegaConf.to_container(composed.intervention, resolve=True)


def test_the_defaults_are_those_of_the_yaml(from_yaml):
    assert instantiate(from_yaml, "intervention", Intervention) == Transfer()


@pytest.mark.parametrize("through", list(OLD_NAMES))
def test_old_keys_and_values_are_read(from_yaml, through):
    new = from_yaml | {"through": through}
    read = instantiate(old_config(new), "intervention", Intervention)
    assert read == instantiate(new, "intervention", Intervention)
    assert read.title == f"transfer ({through}) from tiny-gpt2"


@pytest.mark.long
def test_an_earlier_run_can_be_run_again_from_its_config(sweep, tmp_path):
    sizes = ("task.n=12", "intervention.alignment.source_layers=3", "intervention.alignment.target_layers=3")
    first = sweep(
        "tracker=none", "figures=false", "name=first", "intervention=transfer", "intervention.through=vocabulary",
        "intervention.scale=[-1,1]", "intervention.controls=5", "intervention.unrelated=39", *sizes,
    )  # fmt: skip
    assert first.code == 0, first.err
    run = only_run_folder(tmp_path)
    file = run / "config.yaml"
    text = file.read_text()
    config = yaml.safe_load(text)
    config["intervention"] = old_config(config["intervention"])
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    file.write_text(header + yaml.safe_dump(config, allow_unicode=True))
    again = sweep("--config-dir", str(run), "--config-name", "config", "name=again")
    assert again.code == 0, again.err
    second = next(folder for folder in run_folders(tmp_path) if "again" in folder.parts)
    one, other = (json.loads((folder / "metrics.json").read_text()) for folder in (run, second))
    assert one == other


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"through": "map"}, "intervention.through: got 'map', expected 'maps', 'vocabulary' or 'head'"),
        ({"method": "linear"}, "intervention.method: this key is now intervention.through"),
        ({"vector": "pca"}, "intervention.vector: this key is now intervention.vector_method"),
        (
            {"unrelated": 38},
            "intervention.unrelated: got 38, expected 39 or more: of fewer directions, the 97.5 % quantile is not "
            "known",
        ),
        ({"controls": 4}, "intervention.controls: got 4, expected greater than or equal to 5"),
        (
            {"alignment": {"method": "none"}},
            "intervention.alignment.method: got 'none', expected 'ridge', 'procrustes', 'lowrank', 'anchors', "
            "'mean_shift', 'affine_trained' or 'mlp'",
        ),
        (
            {"alignment": {"site": "resid_pre", "component": "resid_post"}},
            "intervention.alignment.site: this key is now intervention.alignment.component",
        ),
        (
            {"through": "head", "alignment": {"component": "resid_pre"}},
            "intervention.alignment.component: got 'resid_pre', but heads write into the residual stream after their "
            "layer; expected 'resid_post' for head",
        ),
    ],
)
def test_mistakes_name_the_key(changes, line):
    values = {"through": "maps", "vector_method": "pca"} | changes
    with pytest.raises(LabError) as caught:
        Transfer.from_config(values, "intervention")
    assert str(caught.value) == line


def test_an_old_value_that_never_was_one_is_reported_under_the_new_key():
    with pytest.raises(LabError, match=r"^intervention\.through: got 'lineal', expected 'maps', 'vocabulary' or"):
        Transfer.from_config({"method": "lineal"}, "intervention")
