"""Mistakes and misfortunes of `sweep.py`: each ends in one readable line, and costs only the jobs that it hits."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ioi_lab.runs.reading import is_done
from tests.conftest import only_run_folder, run_folders
from tests.jobs.experiments import ROOT, csv_file, status

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


def test_an_old_config_says_why_a_group_cannot_be_chosen(sweep, tmp_path):
    assert sweep("tracker=none", "task.n=4").code == 0
    run = only_run_folder(tmp_path)
    outcome = sweep("--config-dir", str(run), "--config-name", "config", "model=tiny-pythia")
    assert outcome.code == 1
    assert "model: this config is composed already" in outcome.error_line


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
