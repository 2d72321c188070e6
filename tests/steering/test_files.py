"""Files of vectors: what a steering run writes, and another run reads or refuses."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ioi_lab.engine.edits import Site
from ioi_lab.steering.files import vector_name
from tests.conftest import only_run_folder, run_folders
from tests.interventions.steer.command import steer, steering_rows


def test_vectors_are_named_by_their_sites():
    assert vector_name(Site("resid_pre", 22, None, "END")) == "resid_pre.22.END"
    assert vector_name(Site("z", 9, 0, -1)) == "z.9.0.-1"


@pytest.fixture
def saved(sweep, tmp_path):
    assert steer(sweep, "name=first", "intervention.layer=[1,2]", "intervention.scale=[-2,2]").code == 0
    return only_run_folder(tmp_path)


def test_a_file_has_its_provenance_and_steers_the_same_again(sweep, tmp_path, saved):
    with safe_open(saved / "vectors.safetensors", "pt") as file:
        provenance = file.metadata()
    assert provenance["kind"] == "steering vectors"
    assert provenance["model"] == "tiny-gpt2"
    assert (provenance["method"], provenance["contrast"]) == ("mean_difference", "answer_position")
    assert provenance["task"] == "ioi (s2)"
    assert json.loads(provenance["sites"])["resid_pre.2.END"]["layer"] == 2
    norm = float(load_file(saved / "vectors.safetensors")["resid_pre.2.END"].norm())
    assert json.loads(provenance["sites"])["resid_pre.2.END"]["norm"] == pytest.approx(norm)
    file = saved / "vectors.safetensors"
    arguments = ["name=again", "intervention.layer=2", "intervention.scale=[-2,2]", f"intervention.vector={file}"]
    assert steer(sweep, *arguments).code == 0
    (again,) = (run for run in run_folders(tmp_path) if "again" in run.parts)
    first = steering_rows(saved)
    names = set(json.loads(provenance["training_names"]))
    prompts = pd.read_csv(again / "prompts.csv")
    assert not names & {*prompts["answer"], *prompts["distractor"]}
    assert set(prompts["clean"]) == set(pd.read_csv(saved / "prompts.csv")["clean"])
    expected = first[first["layer"] == 2]["logit_diff"].to_numpy()
    assert steering_rows(again)["logit_diff"].to_numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["model=tiny-pythia"], r"belongs to another model (tiny-gpt2); expected tiny-pythia"),
        (["intervention.layer=3"], "has no vector for resid_pre.3.END; it has resid_pre.1.END, resid_pre.2.END"),
        (
            ["intervention.method=pca", "intervention.layer=2"],
            "was made with method=mean_difference, but intervention.method is pca; add "
            "intervention.method=mean_difference",
        ),
        (["intervention.contrast=clean_corrupt"], "was made with contrast=answer_position"),
        (["intervention.component=z"], "of shape [128]; expected [32], the width of z in tiny-gpt2"),
    ],
)
def test_a_vector_of_something_else_is_refused(sweep, saved, arguments, line):
    outcome = steer(sweep, f"intervention.vector={saved / 'vectors.safetensors'}", *arguments)
    assert outcome.code == 1
    assert outcome.error_line.startswith("error: intervention.vector: ")
    assert line in outcome.error_line


def test_a_file_without_vectors_is_refused(sweep, tmp_path):
    save_file({"x": torch.zeros(3)}, tmp_path / "x.safetensors")
    outcome = steer(sweep, "intervention.vector=x.safetensors")
    assert outcome.error_line.endswith("was not written by a run of this lab; expected steering vectors")
    (tmp_path / "y.safetensors").write_text("nothing")
    outcome = steer(sweep, "intervention.vector=y.safetensors")
    assert "y.safetensors' as safetensors" in outcome.error_line
