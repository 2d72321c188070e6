"""What results depend on is read as it is when a run begins, whatever changes meanwhile."""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from ioi_lab.errors import LabError
from ioi_lab.interventions.patch import Patch
from ioi_lab.jobs.experiment import Experiment
from ioi_lab.jobs.job import PreparedJob
from ioi_lab.models.loading import checksums_of, load_model
from ioi_lab.runs.code import library_versions
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.identity import check_unchanged, identity_of, is_of_other_code, sha256_of_named_files, why_again
from ioi_lab.runs.reading import is_done, read_run
from tests.conftest import model_config, run_folders

LIBRARIES = ("torch", "transformers", "transformer-lens")
HEADER = "clean,corrupt,answer,distractor\n"
PROMPT = "When John and Mary went to the {}, {} gave a drink to"


def write_pair(path, place):
    prompts = ",".join(f'"{PROMPT.format(place, name)}"' for name in ("John", "Mary"))
    path.write_text(f"{HEADER}{prompts}, Mary, John\n")


def identity(config, modules=("ioi_lab.tasks.ioi",), weights="weights", model_files="files"):
    return identity_of(config, frozenset(modules), weights, model_files)


def test_it_is_that_of_what_results_depend_on():
    config = {"name": "a", "seed": 0, "resume": True, "tracker": {"name": "none"}, "task": {"n": 1}}
    first = identity(config)
    renamed = config | {"name": "b", "resume": False, "tracker": {"name": "wandb"}}
    assert identity(renamed) == first
    assert identity(config | {"task": {"n": 2}})["config"] != first["config"]
    assert identity(config, weights="others") == first | {"weights": "others"}
    assert identity(config, model_files="others") == first | {"model_files": "others"}
    assert first["packages"] == ", ".join(f"{name} {version(name)}" for name in LIBRARIES)


def test_other_versions_of_the_libraries_are_another_identity(monkeypatch):
    first = identity({})
    library_versions.cache_clear()
    monkeypatch.setattr("ioi_lab.runs.code.version", lambda name: "0.1")
    assert identity({})["packages"] == "torch 0.1, transformers 0.1, transformer-lens 0.1"
    library_versions.cache_clear()
    monkeypatch.undo()
    assert identity({}) == first


def test_a_model_that_is_not_there_is_reported_by_its_key(tmp_path):
    class Stub(PreparedJob):
        job = SimpleNamespace(models={"intervention.source": model_config(tmp_path / "nowhere")})

    with pytest.raises(LabError, match=r"^intervention\.source\.path: .* is not a folder"):
        Stub(OmegaConf.create(), Experiment).identity()


def test_why_a_run_does_not_count(tmp_path):
    own = identity({"seed": 0})
    run = RunFolder(tmp_path)
    assert why_again(read_run(tmp_path), own) == "its files are damaged (status.json is missing)"
    (tmp_path / "results.csv").write_text("a\n1\n")
    (tmp_path / "metrics.json").write_text('{"a": 1}')
    run.finish({"identity": own})
    assert why_again(read_run(tmp_path), own) is None
    other = own | {"code": "other", "model_files": "other"}
    assert why_again(read_run(tmp_path), other) == "it was done with other code and model files"
    with pytest.raises(LabError, match="the code and model files of this run were changed while it was measured"):
        check_unchanged(own, other)


def test_whether_a_run_was_done_with_the_code_that_is_here(tmp_path):
    (tmp_path / "results.csv").write_text("a\n1\n")
    (tmp_path / "metrics.json").write_text('{"a": 1}')
    for changes, is_other in (({}, False), ({"code": "x"}, True), ({"packages": "x"}, True), ({"weights": "x"}, False)):
        RunFolder(tmp_path).finish({"identity": identity({}) | changes, "modules": ["ioi_lab.tasks.ioi"]})
        assert is_of_other_code(read_run(tmp_path)) == is_other


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "batch"])
def test_a_file_that_is_edited_during_a_sweep(sweep, tmp_path, monkeypatch, launcher):
    """Each run's results and what it says of its files are of the same version, or it fails and says why."""
    path = tmp_path / "mine.csv"
    write_pair(path, "store")
    plain = Patch.report

    def editing(self, result, context):
        if self.layer == 1:
            write_pair(path, "park")
        return plain(self, result, context)

    monkeypatch.setattr(Patch, "report", editing)
    grid = ("-m", "tracker=none", "figures=false", "task=pairs", f"task.path={path}", "intervention.layer=0,1,2")
    outcome = sweep(*grid, f"hydra/launcher={launcher}")
    assert outcome.code == 1
    assert "the files of this run were changed while it was measured" in outcome.err
    assert "3 runs (2 done, 1 failed)" in outcome.out
    places = ["store" in (run / "prompts.csv").read_text() for run in run_folders(tmp_path) if is_done(run)]
    assert places == [True, False]
    monkeypatch.setattr(Patch, "report", plain)
    outcome = sweep(*grid)
    assert outcome.out.count("it was done with other files, so it is run again") == 1
    assert outcome.out.count("is done already") == 1
    assert all("park" in (run / "prompts.csv").read_text() for run in run_folders(tmp_path))


def test_weights_that_are_replaced_during_a_sweep(sweep, tmp_path, monkeypatch, random_folders):
    mine = tmp_path / "checkpoint"
    shutil.copytree(random_folders["gpt2"], mine)
    plain = Patch.report

    def training(self, result, context):
        if self.layer == 0:
            replace_weights(mine)
        return plain(self, result, context)

    monkeypatch.setattr(Patch, "report", training)
    outcome = sweep("-m", "tracker=none", "model=folder", f"model.path={mine}", "task.n=4", "intervention.layer=0,1")
    assert "the weights of this run were changed while it was measured" in outcome.err
    assert "2 runs (1 failed, 1 done)" in outcome.out
    (done,) = (run for run in run_folders(tmp_path) if is_done(run))
    provenance = json.loads((done / "provenance.json").read_text())
    config = model_config(mine)
    assert provenance["model"]["weights_sha256"] == provenance["identity"]["weights"] == checksums_of(config).weights


def replace_weights(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = {name: tensor + 0.01 for name, tensor in load_file(path).items()}
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})


def test_a_model_is_loaded_as_it_is_now(tmp_path, random_folders):
    mine = tmp_path / "checkpoint"
    shutil.copytree(random_folders["gpt2"], mine)
    before = load_model(model_config(mine))
    assert load_model(model_config(mine)) is before
    replace_weights(mine)
    after = load_model(model_config(mine))
    assert after.weights_sha256 != before.weights_sha256
    change = next(after.bridge.parameters()) - next(before.bridge.parameters())
    assert change.mean().item() == pytest.approx(0.01, rel=1e-3)


def test_a_look_at_a_run_leaves_what_it_is_known_by(tmp_path):
    config = {"intervention": {"from_run": str(tmp_path)}}
    (tmp_path / "results.csv").write_text("a\n1\n")
    (tmp_path / "log.txt").write_text("done")
    before = sha256_of_named_files(config)
    (tmp_path / "log.txt").write_text("is done already")
    (tmp_path / ".lock").touch()
    (tmp_path / "results.csv").touch()
    assert sha256_of_named_files(config) == before
    (tmp_path / "results.csv").write_text("a\n2\n")
    assert sha256_of_named_files(config) != before


def test_what_is_no_file_is_not_read_for_a_checksum(tmp_path):
    """A device may have no end, and a pipe no beginning."""
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        assert sha256_of_named_files({"path": str(path)}) == sha256_of_named_files({})
