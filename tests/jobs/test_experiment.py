"""The command line as a user meets it: the main job, grids, reruns, other people's models and prompts, mistakes."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from yaml import safe_load

from ioi_lab.jobs.experiment import shared_engine
from ioi_lab.runs.reading import is_done
from tests.conftest import only_run_folder, run_folders

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "config.yaml",
    "metrics.json",
    "results.csv",
    "prompts.csv",
    "plots",
    "provenance.json",
    "status.json",
}


def status(folder):
    return json.loads((folder / "status.json").read_text())["status"]


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


def csv_file(folder, content):
    (folder / "bad.csv").write_text(content)
    return "task=pairs", f"task.path={folder / 'bad.csv'}"


# What the config alone can tell: each must end before torch is imported.
CONFIG_MISTAKES = {
    "unknown option": (["model=gpt3"], "model: got 'gpt3', expected one of folder, gemma3-270m, "),
    "unknown preset": (
        ["experiment=residual"],
        "experiment: got 'residual', expected one of cross_model, cross_model_real, ",
    ),
    "no option": (["model=null"], "Config group override must be a string or a list"),
    "unknown group": (["modle=gpt2-small"], "modle: no such key (did you mean model?)"),
    "unknown key": (["task.sead=1"], "task.sead: no such key (did you mean task.seed?); expected one of task.name,"),
    "unknown added key": (["+sead=1"], "sead: no such key"),
    "wrong type": (["task.n=many"], "task.n: got 'many', expected a valid integer"),
    "zero prompts": (["task.n=0"], "task.n: got 0, expected greater than or equal to 1"),
    "wrong choice": (["intervention.direction=up"], "intervention.direction: got 'up', expected 'denoise' or 'noise'"),
    "no prompts": (["task=pairs"], "task.path: got None; give a file with task.path=…, or one pair with"),
    "half a pair": (["task=pairs", "task.prompt=x"], "task.corrupt: got None; give a file with task.path=…, or"),
    "a file and a pair": (
        ["task=pairs", "task.path=x.csv", "task.prompt=x"],
        "task.prompt: got 'x', but task.path=x.c",
    ),
    "no value": (["model=folder"], "model.path: this key has no value yet; give one with model.path=…"),
    "names in no prompt": (["task.answer=Mary"], "task.prompt: got None, but task.answer and task.distractor name"),
    "answer is the distractor": (
        ["task.prompt=John met Mary, John", "task.answer=Mary", "task.distractor= Mary"],
        "task.answer: got 'Mary', which is the distractor too; they must differ",
    ),
    "nobody twice": (["task.prompt=Then John met Mary"], "task.prompt: cannot infer from 'Then John met Mary' who is"),
    "not in the prompt": (
        ["task.prompt=Then John met Mary", "task.answer=Ann", "task.distractor=John"],
        "task.prompt: 'Then John met Mary' has the answer 'Ann' 0 times and the distractor 'John' 1 times, expected",
    ),
    "head of a component without heads": (
        ["intervention.component=resid_pre", "intervention.head=3"],
        "intervention.head: got 3, but resid_pre has no heads; expected 'all'",
    ),
    "missing folder": (["model=folder", "model.path=/no/such"], "model.path: '/no/such' is not a folder"),
    "missing CSV": (["task=pairs", "task.path=/no/such.csv"], "task.path: '/no/such.csv' is not a file"),
    "class that is none of ours": (["task._target_=os.system"], "task._target_: got 'os.system', expected"),
    "unknown flag": (["--layer=3"], "--layer=3: no such flag; a config key has no dashes: write layer=3"),
    "no equals sign": (["oops"], "oops: has no value; write oops=VALUE"),
    "list without -m": (["intervention.layer=0,1"], "intervention.layer: got '0,1'; write a list as"),
    "online without a login": (["tracker.mode=online"], "tracker.mode: got 'online', but no W&B key or login"),
    "output below a file": (["hydra.run.dir=/dev/null/x"], "cannot write or read '/dev/null/x': Not a directory"),
}
WITHOUT_TORCH = """
import json, os, runpy, sys
import ioi_lab.cli.command, ioi_lab.jobs.experiment  # once for all commands
codes = []
for number, arguments in enumerate(json.loads(sys.argv[1])):
    if os.fork() == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{sys.argv[2]}/{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv[:] = ["sweep.py", *arguments]
        try:
            runpy.run_path("sweep.py", run_name="__main__")
        finally:
            print("torch imported" if "torch" in sys.modules else "no torch", flush=True)
        sys.exit(0)
    codes.append(os.waitstatus_to_exitcode(os.wait()[1]))
print(json.dumps(codes))
"""
"""Runs each command in a fork of one process, which has imported what all of them need."""


@pytest.mark.long
def test_mistakes_in_the_config_end_in_one_line_before_torch(tmp_path):
    """All in one process, since importing Hydra takes longer than finding a mistake."""
    commands = [
        ([] if mistake == "output below a file" else [f"hydra.run.dir={tmp_path}/runs/x"]) + arguments
        for mistake, (arguments, _) in CONFIG_MISTAKES.items()
    ]
    environment = {key: value for key, value in os.environ.items() if key not in ("WANDB_MODE", "WANDB_API_KEY")}
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps(commands), str(tmp_path)],
        cwd=ROOT,
        env=environment | {"NETRC": str(tmp_path / "no-login")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(ended.stdout)) == {1}
    for number, (mistake, (_, line)) in enumerate(CONFIG_MISTAKES.items()):
        out, err = ((tmp_path / f"{number}.{name}").read_text() for name in ("out", "err"))
        assert err.startswith(f"error: {line}"), mistake
        assert err.count("\n") == 1, mistake
        assert out == "no torch\n", mistake
    assert not any(status(run) == "done" for run in run_folders(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["intervention.layer=4"], "intervention.layer: got 4, expected 0 to 3 (tiny-gpt2)"),
        (["intervention.head=[0,9]"], "intervention.head: got 9, expected 0 to 3 (tiny-gpt2)"),
        (["intervention.position=[each,END]"], "intervention.position: got ['each', 'END'], but 'each' stands for"),
        (["intervention.position=S3"], "intervention.position: got 'S3', expected one of all, each, BOS, "),
        (["intervention.position=99"], "intervention.position: got 99, expected an index from -"),
        (
            ["intervention.component=resid_mid", "model=tiny-pythia"],
            "intervention.component: got 'resid_mid', but the bl",
        ),
        (["intervention.head='9.9'"], "intervention.head: got 9.9, expected a head from 0.0 to 3.3 (tiny-gpt2)"),
        (["engine.memory_gb=1e-5"], "engine.memory_gb: got 1e-05, but one edit of one prompt of"),
        (
            ["intervention=path_patch", "intervention.receiver_input=q", "intervention.receiver='0.1'"],
            "intervention.receiver: no sender comes before q of 0.1",
        ),
        (["model.device=cuda:77"], "model.device: got 'cuda:77', expected one of auto, "),
        (["model=gpt2-small"], "model.path: cannot get 'gpt2' (revision 607a30d783dfa663caf39e06633721c8d4cfcd7e)"),
    ],
)
def test_mistakes_that_need_the_model_end_in_one_line(sweep, tmp_path, arguments, line):
    outcome = sweep("tracker=none", *arguments)
    assert outcome.code == 1
    assert outcome.error_line.startswith(f"error: {line}")
    run = only_run_folder(tmp_path)
    assert status(run) == "failed"
    assert json.loads((run / "status.json").read_text())["error"].startswith(line)
    assert not (run / "metrics.json").exists()


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


def test_a_folder_that_is_no_model_is_reported(sweep, tmp_path):
    outcome = sweep("model=folder", f"model.path={tmp_path}", "tracker=none")
    assert outcome.code == 1
    assert "is not a Hugging Face model folder: it lacks config.json" in outcome.error_line


def test_a_csv_without_a_column_is_reported(sweep, tmp_path):
    outcome = sweep(*csv_file(tmp_path, "clean,answer,distractor\na,b,c\n"), "tracker=none")
    assert outcome.code == 1
    assert "lacks the column 'corrupt'; found clean, answer, distractor" in outcome.error_line


def test_rows_that_do_not_line_up_are_reported(sweep, tmp_path):
    content = "clean,corrupt,answer,distractor\nThen John met,Then John and Mary met, Mary, John\n"
    outcome = sweep(*csv_file(tmp_path, content), "tracker=none")
    assert outcome.code == 1
    assert "row 2: clean has 4 tokens and corrupt 6; they must be equally long" in outcome.error_line


def test_prompts_that_measure_nothing_are_reported(sweep, tmp_path):
    content = "clean,corrupt,answer,distractor\nThen John met,Then John met, Mary, John\n"
    outcome = sweep(*csv_file(tmp_path, content), "tracker=none")
    assert outcome.code == 1
    assert "nothing to recover" in outcome.error_line
    assert status(only_run_folder(tmp_path)) == "failed"


def test_a_read_only_output_folder_is_reported(sweep, tmp_path, monkeypatch):
    """Root may write anywhere, so the refusal is the file system's answer put in by hand."""

    def refuse(self, *arguments, **keywords):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    outcome = sweep("tracker=none")
    assert outcome.code == 1
    assert outcome.error_line.startswith("error: cannot write or read 'runs/patch/")
    assert outcome.error_line.endswith("Permission denied")


def test_failed_jobs_are_reported_and_do_not_stop_the_others(sweep, tmp_path):
    outcome = sweep("-m", "intervention.layer=9,1,8", "task.n=4", "tracker=none")
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        "error: job 0 (intervention.layer=9,task.n=4,tracker=none): "
        "intervention.layer: got 9, expected 0 to 3 (tiny-gpt2)",
        "error: job 2 (intervention.layer=8,task.n=4,tracker=none): "
        "intervention.layer: got 8, expected 0 to 3 (tiny-gpt2)",
    ]
    assert [status(run) for run in run_folders(tmp_path)] == ["failed", "done", "failed"]


def test_flags_may_come_after_overrides(sweep, tmp_path):
    assert sweep("tracker=none", "figures=false", "-m", "task.n=3,4").code == 0
    assert len(run_folders(tmp_path)) == 2


def test_an_old_config_says_why_a_group_cannot_be_chosen(sweep, tmp_path):
    assert sweep("tracker=none", "task.n=4").code == 0
    run = only_run_folder(tmp_path)
    outcome = sweep("--config-dir", str(run), "--config-name", "config", "model=tiny-pythia")
    assert outcome.code == 1
    assert "model: this config is composed already" in outcome.error_line


def test_relative_paths_become_absolute_in_the_run_folder(sweep, tmp_path, random_folders):
    (tmp_path / "mine").symlink_to(random_folders["gpt2"])
    assert sweep("model=folder", "model.path=mine", "task.n=4", "tracker=none").code == 0
    config = safe_load((only_run_folder(tmp_path) / "config.yaml").read_text())
    assert config["model"]["path"] == str(random_folders["gpt2"])


def test_tracebacks_come_back_on_request(tmp_path):
    ended = subprocess.run(
        [sys.executable, "sweep.py", "task.n=0", f"hydra.run.dir={tmp_path}"],
        cwd=ROOT,
        env=os.environ | {"HYDRA_FULL_ERROR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


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


@pytest.mark.long
def test_a_disk_that_fills_up_costs_only_the_jobs_that_it_hits(sweep, tmp_path, monkeypatch):
    plain = os.fsync

    def full(descriptor):
        if "/1/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    outcome = sweep("-m", "tracker=none", "task.n=4", "intervention.layer=0,1,2")
    assert outcome.code == 1
    assert outcome.error_line.startswith("error: job 1 (intervention.layer=1")
    assert outcome.error_line.endswith("status.json': No space left on device")
    done = [run.name for run in run_folders(tmp_path) if is_done(run)]
    assert done == ["0", "2"]
    monkeypatch.setattr(os, "fsync", plain)
    assert "3 runs (3 done)" in sweep("-m", "tracker=none", "task.n=4", "intervention.layer=0,1,2").out


def test_an_empty_grid_is_reported(sweep):
    outcome = sweep("-m", "tracker=none", "intervention.layer=range(0,0)")
    assert outcome.code == 1
    assert outcome.error_line == "error: intervention.layer=range(0,0): stands for no value, so there is nothing to run"
