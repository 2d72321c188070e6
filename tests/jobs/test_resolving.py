"""Configs as plain values: interpolations, absolute paths, and what is not a path."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ioi_lab.errors import LabError
from ioi_lab.jobs.job import run_job
from ioi_lab.jobs.resolving import resolve
from ioi_lab.runs.identity import sha256_of_named_files
from tests.jobs.test_job import prepare


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"task": {"path": "???"}}, "task.path"),
        ({"task": "???"}, "task"),
        ({"task": {"n": [{"x": "???"}]}}, "task.n[0].x"),
    ],
)
def test_a_key_without_a_value_is_reported(config, key):
    with pytest.raises(LabError) as error:
        resolve(OmegaConf.create(config))
    assert str(error.value) == f"{key}: this key has no value yet; give one with {key}=…"


def test_interpolations_are_resolved_and_hydras_own_part_is_left_out():
    config = OmegaConf.create(
        {
            "seed": 3,
            "task": {"seed": "${seed}", "n": [1, "${seed}"]},
            "hydra": {"run": "${missing}"},
            "name": "${task.seed}",
        }
    )
    assert resolve(config) == {"seed": 3, "task": {"seed": 3, "n": [1, 3]}, "name": 3}


def test_an_interpolation_of_nothing_is_reported_in_one_line():
    with pytest.raises(LabError, match=r"^task\.seed: Interpolation key 'sed' not found$"):
        resolve(OmegaConf.create({"task": {"seed": "${sed}"}}))


def test_a_tilde_in_a_path_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a (1).csv").write_text("x")
    config = {"task": {"path": "~/a (1).csv", "text": "~/none", "maps": "~nobody-at-all/a", "vector": "x" * 5000}}
    assert resolve(OmegaConf.create(config)) == {"task": config["task"] | {"path": str(tmp_path / "a (1).csv")}}


def test_paths_of_files_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    Path("here/a.txt").write_text("x")
    Path("here/status.json").write_text("{}")
    own = {"path": "here/a.txt", "text": "here/none.txt", "name": "here/a.txt", "vector": None}
    config = {
        "intervention": {"text": "here/a.txt", "lens": {"translators": "here/a.txt"}, "from_run": "here"},
        "task": own,
        "model": {"source": "folder", "path": "here"},
        "source": {"source": "hub", "path": "here"},
        "target": {"source": "tiny", "path": "here"},
        "resume_from": "here",
    }
    absolute, file = str(tmp_path / "here"), str(tmp_path / "here" / "a.txt")
    assert resolve(OmegaConf.create(config)) == {
        "intervention": {"text": file, "lens": {"translators": file}, "from_run": absolute},
        "task": own | {"path": file},
        "model": {"source": "folder", "path": absolute},
        "source": {"source": "hub", "path": "here"},
        "target": {"source": "tiny", "path": "here"},
        "resume_from": absolute,
    }


TRANSFER = "ioi_lab.interventions.transfer.config.Transfer"
NAMES = {
    "a method of an earlier version": ("intervention", {"_target_": TRANSFER, "vector": "mean_difference"}, "vector"),
    "a method": ("intervention", {"_target_": TRANSFER, "vector_method": "mean_difference"}, "vector_method"),
    "a model on the hub": ("model", {"source": "hub", "path": "gpt2"}, "path"),
    "a packaged model": ("model", {"source": "tiny", "path": "tiny-gpt2"}, "path"),
    "a data set": ("corpus", {"_target_": "ioi_lab.alignment.corpora.HubDataset", "path": "own/data"}, "path"),
    "a reference": (
        "intervention",
        {"_target_": "ioi_lab.interventions.ablate.Ablate", "reference": "abc"},
        "reference",
    ),
    "a selector": ("intervention", {"_target_": "ioi_lab.interventions.steer.config.Steer", "layer": "all"}, "layer"),
}


@pytest.mark.parametrize(("group", "values", "key"), NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_file_that_is_called_like_a_value_is_not_taken_for_it(tmp_path, monkeypatch, group, values, key, kind):
    monkeypatch.chdir(tmp_path)
    path = Path(values[key])
    path.parent.mkdir(exist_ok=True)
    before = sha256_of_named_files({group: values})
    path.mkdir() if kind == "folder" else path.write_text("x")
    assert resolve(OmegaConf.create({group: values})) == {group: values}
    if group != "model":  # a model's weights have a checksum of their own
        assert sha256_of_named_files({group: values}) == before


def test_what_is_written_as_a_path_is_one(tmp_path, monkeypatch):
    """Also for a key that takes names, and without a suffix for one that does not."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("vector").write_text("x")
    corpus = {"_target_": "ioi_lab.alignment.corpora.HubDataset", "path": "./data"}
    steer = {"_target_": "ioi_lab.interventions.steer.config.Steer", "vector": "vector"}
    resolved = resolve(OmegaConf.create({"corpus": corpus, "intervention": steer}))
    assert resolved["corpus"]["path"] == str(tmp_path / "data")
    assert resolved["intervention"]["vector"] == str(tmp_path / "vector")
    assert sha256_of_named_files(resolved) != sha256_of_named_files({})


def test_an_unknown_class_is_reported_when_a_config_is_resolved():
    with pytest.raises(
        LabError, match=r"^intervention\.lens\._target_: got 'os\.system', expected a name in ioi_lab, or"
    ):
        resolve(OmegaConf.create({"intervention": {"lens": {"_target_": "os.system"}}}))


def test_a_name_stands_for_the_latest_run_or_its_file(tmp_path, monkeypatch):
    """The config that is stored names the run itself, which later runs of that name do not change."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "demo" / "1"
    run_job(prepare(), run)
    (run / "maps.safetensors").write_text("x")
    config = {"intervention": {"from_run": "latest", "maps": "runs/demo", "lens": {"translators": "runs/demo"}}}
    assert resolve(OmegaConf.create(config))["intervention"] == {
        "from_run": str(run),
        "maps": str(run / "maps.safetensors"),
        "lens": {"translators": "runs/demo"},  # the run has none, which is reported when it is read
    }
    (run / "results.csv").unlink()
    with pytest.raises(LabError, match=r"intervention\.maps: 'runs' is not a run folder: none of the 1 runs in it is"):
        resolve(OmegaConf.create({"intervention": {"maps": "runs"}}))
