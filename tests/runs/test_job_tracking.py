from __future__ import annotations

import json

import pytest

from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.job_tracking import MAX_TAG, TrackedJob, overrides_in_name

CONFIG = {"name": "mine", "task": {"path": "/home/me/prompts.csv"}}


def job(**config):
    return TrackedJob("patch z · m · ioi", "patch z · m", "patch", ("m", "ioi"), {**CONFIG, **config}, None)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["intervention.layer=3", "seed=2"], "layer=3 seed=2"),
        (["model=tiny-gpt2", "intervention=steer", "name=x", "figures=false", "tracker.project=p"], ""),
        (["task.seed=1", "seed=2"], "task.seed=1 seed=2"),
        (["+task.n=4", "~task.x", "lens@intervention.lens=tuned", "hydra.verbose=true"], "n=4"),
        (["intervention.heads=[" + "1," * 90], "heads=[" + "1," * 36 + "1…"),
    ],
)
def test_overrides_in_names(typed, text):
    assert overrides_in_name(typed) == text


def test_names_and_tags_of_a_failed_run(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- intervention.layer=3\n- seed=2\n")
    first = job().failed(RunFolder(tmp_path), "no memory")
    assert (first.title, first.error) == ("patch z · m · layer=3 seed=2", "no memory")
    assert first.tags == ("m", "ioi", "mine", "prompts.csv", "failed")
    again = job().failed(RunFolder(tmp_path), "interrupted")
    assert again.tags[-1] == "interrupted"
    assert again.id == first.id


def test_without_typed_overrides_the_title_is_the_name(tmp_path):
    assert job().failed(RunFolder(tmp_path), "x").title == "patch z · m · ioi"


def test_damaged_records_do_no_harm(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("{")
    (tmp_path / "wandb_failed.json").write_text("[")
    run = job(name="n" * 100, task=None).failed(RunFolder(tmp_path), "x")
    assert run.title == "patch z · m · ioi"
    assert run.tags == ("m", "ioi", "n" * MAX_TAG, "failed")
    assert json.loads((tmp_path / "wandb_failed.json").read_text()) == {"id": run.id}
