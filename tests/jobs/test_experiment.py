"""The command line as a user meets it: the main job, grids, reruns, other people's models and prompts, mistakes."""

from __future__ import annotations

import json
import os
import re

import pandas as pd
import pytest
from yaml import safe_load

from ioi_lab.jobs.experiment import shared_engine
from tests.conftest import only_run_folder, run_folders
from tests.jobs.experiments import csv_file, status

FILES = {
    "config.yaml",
    "metrics.json",
    "results.csv",
    "prompts.csv",
    "plots",
    "provenance.json",
    "status.json",
}


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_the_main_job(sweep, tmp_path):
    outcome = sweep("tracker=none")
    assert outcome.code == 0
    assert "patch z · tiny-gpt2 · ioi" in outcome.out
    run = only_run_folder(tmp_path)
    assert f"results: {run.relative_to(tmp_path)}" in outcome.out
    assert {path.name for path in run.iterdir()} >= FILES
    assert status(run) == "done"
    table = pd.read_csv(run / "results.csv")
    assert list(table.columns[:7]) == [
        "component",
        "layer",
        "head",
        "position",
        "scale",
        "logit_diff",
        "logit_diff_low",
    ]
    assert len(table) == metrics(run)["n_edits"] == 16
    assert table["scale"].isna().all()
    best = table.loc[table["recovery"].abs().idxmax()]
    assert (best["layer"], best["head"]) == (metrics(run)["best_layer"], metrics(run)["best_head"])
    assert best["recovery_low"] < best["recovery"] < best["recovery_high"]
    assert f"{int(best['layer'])}.{int(best['head'])}" in outcome.out
    assert metrics(run)["check_everything"] == pytest.approx(1, abs=1e-3)
    assert metrics(run)["check_nothing"] == pytest.approx(0, abs=1e-3)
    assert {path.stem for path in (run / "plots").iterdir()} == {"recovery_by_head", "top_effects"}
    provenance = json.loads((run / "provenance.json").read_text())
    assert len(provenance["model"]["weights_sha256"]) == 64
    assert provenance["packages"]["torch"]
    assert provenance["seconds"] > 0
    assert provenance["peak_memory_mb"] > 100


@pytest.mark.long
def test_a_grid_gives_complete_runs_in_one_group(sweep, tmp_path):
    outcome = sweep("-m", "model=tiny-gpt2,tiny-pythia", "intervention.direction=denoise,noise", "task.n=4")
    assert outcome.code == 0, outcome.err
    runs = run_folders(tmp_path)
    assert [run.name for run in runs] == ["0", "1", "2", "3"]
    assert len({run.parent for run in runs}) == 1
    for run in runs:
        assert status(run) == "done"
        assert {path.name for path in run.iterdir()} >= {*FILES, "wandb"}
    configs = [safe_load((run / "config.yaml").read_text()) for run in runs]
    seen = [(config["model"]["name"], config["intervention"]["direction"]) for config in configs]
    assert seen == [(model, way) for model in ("tiny-gpt2", "tiny-pythia") for way in ("denoise", "noise")]
    folder = runs[0].parent
    table = pd.read_csv(folder / "sweep.csv")
    assert [tuple(row) for row in table[["model", "intervention.direction"]].to_numpy()] == seen
    assert list(table["best_recovery"]) == [metrics(run)["best_recovery"] for run in runs]
    assert (folder / "plots" / "best_recovery_by_model_direction.png").is_file()
    assert "4 runs (4 done), summary in" in outcome.out
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 1  # of the summary


def test_the_jobs_of_a_grid_share_model_and_baselines(sweep, tmp_path, monkeypatch):
    from ioi_lab.engine.engine import Engine

    shared_engine.cache_clear()
    runs = []
    right = Engine.run
    monkeypatch.setattr(Engine, "run", lambda self, plan, *a, **k: runs.append(plan) or right(self, plan, *a, **k))
    assert sweep("-m", "intervention.layer=0,1,2", "task.n=4", "tracker=none", "figures=false").code == 0
    assert shared_engine.cache_info().misses == 1
    assert sum(plan == [()] for plan in runs) == 2  # the clean and the corrupted run, once for all jobs
    assert len(runs) == 2 + 3


def test_a_run_can_be_repeated_from_its_folder(sweep, tmp_path):
    assert sweep("tracker=none", "figures=false", "task.n=5", "task.corruption=swap", "seed=7", "name=first").code == 0
    first = only_run_folder(tmp_path)
    assert sweep("--config-dir", str(first), "--config-name", "config", "name=again").code == 0
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert metrics(again) == metrics(first)
    assert (again / "results.csv").read_text() == (first / "results.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "figure", "columns"),
    [
        (["intervention.component=resid_pre", "intervention.position=each"], "recovery_by_position", 6),
        (["intervention.component=mlp_out", "intervention.position=[S2,END]"], "recovery_by_position", 2),
        (["intervention.component=attn_out", "intervention.position=END"], "recovery_by_layer", 1),
        (["intervention.position=[S2,-1]", "intervention.layer=[0,2]", "intervention.head=1"], "recovery_by_head", 2),
    ],
)
def test_selectors(sweep, tmp_path, arguments, figure, columns):
    outcome = sweep("tracker=none", "task.n=4", *arguments)
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    assert pd.read_csv(run / "results.csv")["position"].nunique() == columns
    assert {path.stem for path in (run / "plots").iterdir()} == {figure, "top_effects"}


def test_noising_undoes_what_denoising_does(sweep, tmp_path):
    for direction in ("denoise", "noise"):
        common = ("tracker=none", "task.corruption=swap", "task.n=6", "intervention.component=resid_pre")
        assert sweep(*common, f"intervention.direction={direction}", f"name={direction}").code == 0
    (denoise,), (noise,) = ((tmp_path / "runs" / name).iterdir() for name in ("denoise", "noise"))
    recoveries = [pd.read_csv(run / "results.csv")["recovery"].to_numpy() for run in (denoise, noise)]
    assert recoveries[0] == pytest.approx(1, abs=1e-3)  # the whole residual stream carries the whole run
    assert recoveries[1] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("shape", ["gpt2", "neox", "llama-gqa"])
def test_anyones_folder_and_prompts(sweep, tmp_path, random_folders, shape):
    prompts = tmp_path / "mine.csv"
    prompts.write_text(
        "clean,corrupt,answer,distractor\n"
        '"When John and Mary met, John gave it to","When John and Mary met, Mary gave it to", Mary, John\n'
        "Then Tom saw Ann and Tom gave it to,Then Tom saw Ann and Ann gave it to, Ann, Tom\n"
        '"Then, Tom saw Ann and Tom gave it to","Then, Tom saw Ann and Ann gave it to", Ann, Tom\n'
    )
    path = random_folders[shape]
    outcome = sweep("model=folder", f"model.path={path}", "task=pairs", f"task.path={prompts}", "tracker=none")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    assert f"patch z · {path.name} · pairs" in outcome.out
    assert metrics(run)["n_prompts"] == 3
    assert status(run) == "done"


def test_the_prompts_are_kept_and_can_be_used_again(sweep, tmp_path):
    assert sweep("tracker=none", "figures=false", "task.n=9", "name=first").code == 0
    first = only_run_folder(tmp_path)
    assert sweep("tracker=none", "task=pairs", f"task.path={first / 'prompts.csv'}", "name=again").code == 0
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert metrics(again) == metrics(first)


def test_a_model_that_does_not_do_the_task_is_reported(sweep, tmp_path):
    arguments = csv_file(
        tmp_path, "clean,corrupt,answer,distractor\nThen John met Mary and,Then Mary met John and, park, John\n"
    )
    outcome = sweep(*arguments, "tracker=none")
    assert outcome.code == 0
    assert "warning: the model does not do the task on the clean prompts" in outcome.out
    assert "clean prompts: logit difference -" in outcome.out


def test_one_prompt_has_no_interval_and_works(sweep, tmp_path):
    assert sweep("tracker=none", "task.n=1").code == 0
    run = only_run_folder(tmp_path)
    assert "best_recovery" in metrics(run)
    assert "best_recovery_low" not in metrics(run)
    assert pd.read_csv(run / "results.csv")["recovery_low"].isna().all()


"""Runs each command in a fork of one process, which has imported what all of them need."""


INTERVENTIONS = {
    "patch v of named heads": ["intervention.component=v", "intervention.head=['0.0','1.1']"],
    "patch a set": ["intervention.head=['2.0','3.1']", "intervention.sets=together"],
    "patch each mlp": ["intervention.component=mlp_out", "intervention.position=each"],
    "ablate": ["intervention=ablate"],
    "ablate all but": ["intervention=ablate", "intervention.head=['0.0','2.0']", "intervention.sets=except"],
    "resample": ["intervention=ablate", "intervention.method=resample", "intervention.layer=[1,2]"],
    "paths to the logits": ["intervention=path_patch"],
    "paths to values": ["intervention=path_patch", "intervention.receiver_input=v", "intervention.receiver='2.0'"],
    "estimate": ["intervention=attribution_patch", "intervention.position=[S2,END]"],
    "estimate alone": [
        "intervention=attribution_patch",
        "intervention.check=false",
        "intervention.component=resid_pre",
    ],
    "logits alone": ["engine.readout=logit_diff", "engine.memory_gb=1"],
}


@pytest.mark.parametrize("shape", ["neox", "llama-gqa"])
@pytest.mark.parametrize("intervention", ["logit_lens", "attention", "logit_attribution", "head_roles"])
@pytest.mark.long
def test_what_only_looks_leaves_a_complete_checked_run_of_any_model(
    sweep, tmp_path, random_folders, intervention, shape
):
    model = ("model=folder", f"model.path={random_folders[shape]}", "model.dtype=float32")
    outcome = sweep(*model, "tracker=none", "task.n=16", f"intervention={intervention}")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    assert status(run) == "done"
    assert {path.name for path in run.iterdir()} >= FILES
    assert len(pd.read_csv(run / "results.csv")) >= 8
    assert metrics(run)["check_everything"] == pytest.approx(1, abs=1e-3)
    assert list((run / "plots").glob("*.png"))


def test_a_run_that_only_looked_can_be_repeated_from_its_folder(sweep, tmp_path):
    sentence = "task.prompt=When James and Robert went to the park, James gave a ball to"
    assert sweep("tracker=none", "figures=false", "intervention=logit_lens", sentence, "name=first").code == 0
    first = only_run_folder(tmp_path)
    assert sweep("--config-dir", str(first), "--config-name", "config", "name=again").code == 0
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert metrics(again) == metrics(first)
    assert (again / "results.csv").read_text() == (first / "results.csv").read_text()


@pytest.mark.parametrize("arguments", INTERVENTIONS.values(), ids=INTERVENTIONS)
def test_every_intervention_leaves_a_complete_checked_run(sweep, tmp_path, arguments):
    outcome = sweep("tracker=none", "task.n=8", *arguments)
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    assert status(run) == "done"
    assert {path.name for path in run.iterdir()} >= FILES
    table = pd.read_csv(run / "results.csv")
    assert len(table) == metrics(run)["n_edits"]
    assert table["recovery"].notna().all()
    assert metrics(run)["check_everything"] == pytest.approx(1, abs=1e-3)
    assert metrics(run)["check_nothing"] == pytest.approx(0, abs=1e-3)
    read = {"p_answer", "kl"} & set(table.columns)
    assert bool(read) == (
        "engine.readout=logit_diff" not in arguments and "intervention=attribution_patch" not in arguments
    )


def test_flags_may_come_after_overrides(sweep, tmp_path):
    assert sweep("tracker=none", "figures=false", "-m", "task.n=3,4").code == 0
    assert len(run_folders(tmp_path)) == 2


def test_relative_paths_become_absolute_in_the_run_folder(sweep, tmp_path, random_folders):
    (tmp_path / "mine").symlink_to(random_folders["gpt2"])
    assert sweep("model=folder", "model.path=mine", "task.n=4", "tracker=none").code == 0
    config = safe_load((only_run_folder(tmp_path) / "config.yaml").read_text())
    assert config["model"]["path"] == str(random_folders["gpt2"])


def test_commands_in_one_process_leave_the_environment_as_it_was(sweep, monkeypatch):
    for _ in range(2):
        assert sweep("task.n=0").error_line.startswith("error: task.n")
    assert "HYDRA_FULL_ERROR" not in os.environ
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert sweep("task.n=0").code == 1
    assert os.environ["HYDRA_FULL_ERROR"] == "0"


def test_a_run_of_before_there_were_these_keys_runs_again(sweep, tmp_path):
    assert sweep("tracker=none", "task.n=4", "intervention.layer=0").code == 0
    config = only_run_folder(tmp_path) / "config.yaml"
    config.write_text(re.sub(r"^(figures|optimize):.*\n(?:[ -].*\n)*", "", config.read_text(), flags=re.MULTILINE))
    assert sweep("--config-dir", str(config.parent), "--config-name", "config").code == 0


def test_figures_can_be_left_out(sweep, tmp_path):
    assert sweep("tracker=none", "task.n=4", "intervention.layer=0", "figures=false").code == 0
    run = only_run_folder(tmp_path)
    assert not (run / "plots").exists()
    assert (run / "results.csv").is_file()
