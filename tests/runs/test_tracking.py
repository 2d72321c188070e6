"""What W&B got is read back with W&B's own offline reader."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import wandb

from ioi_lab.errors import LabError
from ioi_lab.jobs.experiment import Experiment
from ioi_lab.runs import tracking, wandb_mode
from ioi_lab.runs.tracking import FinishedRun, TrackerConfig, track, without_folders
from ioi_lab.tiny.corpus import sentences
from tests.conftest import only_run_folder, run_folders
from tests.runs.conftest import SECRET


def inspect(run: Path) -> dict:
    (offline,) = (run / "wandb").glob("offline-run-*")
    command = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--summary", "--json", offline]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def records(run: Path, kind: str) -> list[dict]:
    """Return the records of a kind in the log of an offline run."""
    (offline,) = (run / "wandb").glob("offline-run-*")
    command = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", offline]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [record[kind] for record in map(json.loads, lines) if record["type"] == kind]


@pytest.mark.parametrize(
    ("arguments", "title", "figure"),
    [
        ([], "patch z · tiny-gpt2 · n=4", "recovery_by_head"),
        (["intervention.position=[S2,-1]"], "patch z · tiny-gpt2 · n=4 position=[S2,-1]", "recovery_by_head"),
        (["experiment=residual_by_position"], "patch resid_pre · tiny-gpt2 · n=4", "recovery_by_position"),
        (["intervention.component=mlp_out"], "patch mlp_out · tiny-gpt2 · n=4 component=mlp_out", "recovery_by_layer"),
    ],
)
def test_a_run_can_be_read_back(sweep, tmp_path, arguments, title, figure):
    outcome = sweep("task.n=4", *arguments)
    assert outcome.code == 0
    run = only_run_folder(tmp_path)
    assert "W&B: offline" in outcome.out
    assert "wandb leet run" in outcome.out
    assert "wandb sync" in outcome.out
    logged_run = inspect(run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert logged_run["name"] == title
    assert logged_run["state"] == "finished"
    assert logged_run["config"]["task"]["corruption"] == "s2"
    assert logged_run["summary"]["best_recovery"] == pytest.approx(metrics["best_recovery"])
    assert logged_run["summary"][figure]["_type"] == "image-file"
    assert logged_run["summary"]["headline"] == logged_run["summary"]["best_recovery"]
    assert logged_run["config"]["provenance"]["seconds"] > 0
    assert logged_run["summary"]["tables/results"]["_type"] == "table-file"
    assert logged_run["summary"]["tables/prompts"]["nrows"] == 4
    (table,) = run.glob("wandb/offline-run-*/files/media/table/tables/results_*.json")
    logged = json.loads(table.read_text())
    results = pd.read_csv(run / "results.csv")
    assert logged["columns"] == list(results.columns)
    assert [row[logged["columns"].index("recovery")] for row in logged["data"]] == pytest.approx(results["recovery"])


def test_curves_are_steps_of_the_history_with_an_axis_of_their_own(sweep, tmp_path):
    steer = ("experiment=steering_scales", "intervention.side_effects=0", "intervention.controls=5")
    assert sweep("task.n=8", *steer, "intervention.scale=[2,-1,0]", "figures=false").code == 0
    run = only_run_folder(tmp_path)
    by_scale = [row["item"] for row in records(run, "history") if "scale" in row["item"]]
    table = pd.read_csv(run / "results.csv")
    assert [row["scale"] for row in by_scale] == [-1, 0, 2]
    for layer in range(4):
        of_layer = table[(table["layer"] == layer) & (table["direction"] == "steering")].sort_values("scale")
        values = [row[f"logit_diff_by_scale/layer {layer}"] for row in by_scale]
        assert values == pytest.approx(of_layer["logit_diff"].tolist())
    axes = {metric["glob_name"]: metric["step_metric"] for metric in records(run, "metric") if "glob_name" in metric}
    assert axes["logit_diff_by_scale/*"] == axes["ci/logit_diff_by_scale/*"] == "scale"
    summary = inspect(run)["summary"]
    assert {"headline", "best_initial_slope", "tables/slopes"} <= set(summary)
    assert not [name for name in summary if name.startswith("logit_diff_by_scale/")]


@pytest.mark.long
def test_failed_and_interrupted_jobs_appear_as_such(sweep, tmp_path, monkeypatch):
    """And the job that is run again takes the place of its failed attempt."""
    plain, errors = Experiment.measure, iter([RuntimeError("no memory\nleft"), SystemExit(3)])
    monkeypatch.setattr(Experiment, "measure", lambda *_: (_ for _ in ()).throw(next(errors)))
    grid = ("-m", "task.n=4", "intervention.layer=0,1", "figures=false")
    sweep(*grid)
    runs = run_folders(tmp_path)
    failed = [inspect(run) for run in runs]
    assert [run["state"] for run in failed] == ["failed", "failed"]
    assert [run["summary"]["error"] for run in failed] == ["no memory left", "interrupted"]
    assert [run["name"] for run in failed] == [f"patch z · tiny-gpt2 · n=4 layer={layer}" for layer in (0, 1)]
    monkeypatch.setattr(Experiment, "measure", plain)
    assert sweep(*grid).code == 0
    for run in runs:
        offline = [path.name.split("-")[-1] for path in (run / "wandb").glob("offline-run-*")]
        assert (len(offline), len(set(offline))) == (2, 1)


@pytest.mark.long
def test_pages_and_tensors_are_logged(sweep, tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(" ".join(sentences(150, seed=1)))
    assert sweep("task.n=4", "intervention=attention", "intervention.layer=0", "name=look").code == 0
    lens = (
        "intervention=logit_lens",
        "lens@intervention.lens=tuned",
        f"intervention.lens.text={text}",
        "intervention.lens.steps=2",
    )
    assert sweep("task.n=4", *lens, "name=lens").code == 0
    (look,), (tuned,) = ((tmp_path / "runs" / name).iterdir() for name in ("look", "lens"))
    logged_run = inspect(look)
    assert logged_run["name"] == "attention END → IO · tiny-gpt2 · n=4 layer=0"
    assert logged_run["summary"]["attention"]["_type"] == "html-file"
    assert logged_run["summary"]["report"]["_type"] == "html-file"
    (report,) = look.glob("wandb/offline-run-*/files/media/html/report_*.html")
    assert report.read_text() == (look / "report.html").read_text()
    assert logged_run["summary"]["patterns_layer_00"]["_type"] == "image-file"
    (page,) = look.glob("wandb/offline-run-*/files/media/html/attention_*.html")
    assert page.read_text() == (look / "attention.html").read_text()
    (record,) = tuned.glob("wandb/offline-run-*/run-*.wandb")
    assert b"translators.safetensors" in record.read_bytes()


def test_jobs_of_a_multirun_share_a_group(sweep, tmp_path):
    assert sweep("-m", "task.seed=0,1", "task.n=4", "name=seeds").code == 0
    runs = run_folders(tmp_path)
    group = f"seeds {runs[0].parent.name}"
    for run in runs:
        (record,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
        assert group.encode() in record.read_bytes()


def test_a_failing_tracker_loses_nothing(sweep, tmp_path, monkeypatch):
    def broken(**settings):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(wandb, "init", broken)
    outcome = sweep("task.n=4")
    assert outcome.code == 0
    run = only_run_folder(tmp_path)
    assert json.loads((run / "status.json").read_text())["status"] == "done"
    assert "W&B failed, the results are safe in the run folder: ConnectionError: no route to host" in outcome.out


def test_without_tracker_there_is_no_wandb_folder(sweep, tmp_path):
    outcome = sweep("task.n=4", "tracker=none")
    assert not (only_run_folder(tmp_path) / "wandb").exists()
    assert "W&B" not in outcome.out


def test_a_key_reaches_no_file(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("HF_TOKEN", "hf_" + SECRET)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert sweep("task.n=4").code == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_online_without_a_login_is_reported_before_the_work(no_login):
    with pytest.raises(LabError, match=r"tracker\.mode: got 'online', but no W&B key"):
        TrackerConfig.from_config({"name": "wandb", "mode": "online"}, "tracker").check()


def finished_run(folder, **changes) -> FinishedRun:
    table = pd.DataFrame({"layer": [0], "from": [str(folder / "vectors")]})
    values = {"title": "title", "job_type": "patch", "sweep": None, "tags": (), "config": {}, "metrics": {"x": 1.0}}
    return FinishedRun(folder, **{**values, "tables": {"results": table}, "media": {}, **changes})


WANDB = TrackerConfig.from_config({"name": "wandb"}, "tracker")


def test_disabled_by_the_environment(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("WANDB_DISABLED", "true")
    with caplog.at_level(logging.INFO):
        assert track(finished_run(tmp_path), WANDB) is None
    assert "W&B: disabled (WANDB_DISABLED=true)" in caplog.text
    assert not (tmp_path / "wandb").exists()
    TrackerConfig.from_config({"name": "wandb", "mode": "online"}, "tracker").check()


@pytest.mark.long
def test_a_sweep_whose_server_is_unreachable_waits_once_and_is_offline(sweep, tmp_path, monkeypatch, no_login):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_mode, "SECONDS_FOR_LOGIN", 1)
    asked, ask = [], wandb_mode._ask_server
    monkeypatch.setattr(wandb_mode, "_ask_server", lambda: asked.append(1) or ask())
    for times in (1, 2):
        outcome = sweep("-m", "task.n=4", "intervention.layer=0", "figures=false")
        assert (outcome.code, outcome.err) == (0, "")
        assert len(asked) == times
    assert outcome.out.count("W&B: offline (no answer from http://127.0.0.1:9 in 1 s). See it:") == 1  # the summary
    assert len(list(tmp_path.rglob("offline-run-*"))) == 3


@pytest.mark.parametrize("error", ["Timed out initializing run", "returned error 404: entity not found"])
def test_a_server_that_fails_later_makes_the_rest_of_the_sweep_offline(monkeypatch, no_login, tmp_path, caplog, error):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setattr(wandb_mode, "_ask_server", lambda: None)
    modes, plain = [], wandb.init

    def init(**settings):
        modes.append(settings["mode"])
        if settings["mode"] == "online":
            (settings["dir"] / "wandb" / "run-1").mkdir(parents=True)
            raise wandb.errors.CommError(error)
        return plain(**settings)

    monkeypatch.setattr(wandb, "init", init)
    with caplog.at_level(logging.INFO):
        tracked = [track(finished_run(tmp_path / name, sweep=tmp_path), WANDB) for name in ("0", "1")]
    assert modes == ["online", "offline", "offline"]
    assert [place["mode"] for place in tracked] == ["offline", "offline"]
    assert caplog.text.count(f"W&B: offline ({error}). See it: wandb leet run") == 2
    assert [path.name.split("-")[0] for path in tmp_path.glob("*/wandb/*run-*")] == ["offline", "offline"]


def test_a_run_that_is_not_uploaded_in_time_can_be_synced(monkeypatch, no_login, tmp_path, caplog):
    class Run:
        id, url, dir, summary = "1", "https://wandb.test/1", str(tmp_path / "wandb" / "run-1" / "files"), {}
        log = log_artifact = define_metric = print

        def finish(self, exit_code):
            raise TimeoutError

    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setattr(wandb_mode, "_ask_server", lambda: None)
    monkeypatch.setattr(wandb, "init", lambda **settings: Path(Run.dir).mkdir(parents=True) or Run())
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        assert track(finished_run(tmp_path, sweep=tmp_path), WANDB) == {"mode": "offline", "run": "wandb/run-1"}
    assert f"offline (not all of it was uploaded in {tracking.SECONDS_FOR_UPLOAD} s)" in caplog.text
    assert "Upload it: wandb sync wandb/run-1" in caplog.text
    assert Path(Run.dir).is_dir()
    assert wandb_mode.mode_of_run("auto", tmp_path).mode == "offline"


@pytest.mark.parametrize("machine_info", [True, False])
def test_what_identifies_the_machine_is_left_out_on_request(tmp_path, monkeypatch, machine_info):
    monkeypatch.setattr(sys, "argv", ["sweep.py", "secret-argument"])
    monkeypatch.setattr(socket, "gethostname", lambda: "secret-host")
    wandb.teardown()  # its settings have the name of the host
    config = {"task": {"path": str(tmp_path / "mine.csv")}, "corpora": [str(tmp_path / "a")], "model": "EleutherAI/x"}
    tracker = TrackerConfig.from_config({"name": "wandb", "machine_info": machine_info}, "tracker")
    page = tmp_path / "report.html"
    page.write_text(f"<p>{tmp_path}</p>")
    track(finished_run(tmp_path, config=config, media={"report": page}), tracker)
    wandb.teardown()
    sent = b"".join(path.read_bytes() for path in tmp_path.glob("wandb/offline-run-*/*.wandb"))
    files = [path for path in tmp_path.glob("wandb/offline-run-*/files/**/*") if path.is_file()]
    sent += b"".join(path.read_bytes() for path in files)
    assert all(kept in sent for kept in (b"mine.csv", b"EleutherAI/x", b"vectors"))
    private = {b"secret-host", b"secret-argument", str(tmp_path).encode(), sys.prefix.encode()}
    assert {word for word in private if word in sent} == (private if machine_info else set())
    assert [path.name for path in files if path.name == "requirements.txt"] == ["requirements.txt"] * machine_info
    assert len([path for path in files if path.name.startswith("report_")]) == machine_info


def test_paths_become_names():
    config = {"path": "/home/me/mine.csv", "model": {"path": "EleutherAI/x"}, "n": 3, "maps": ["/a/b", None]}
    assert without_folders(config) == {
        "path": "mine.csv",
        "model": {"path": "EleutherAI/x"},
        "n": 3,
        "maps": ["b", None],
    }


def test_of_a_sweep_only_its_summary(sweep, tmp_path):
    outcome = sweep("-m", "tracker.runs=sweep", "task.n=4", "intervention.layer=0,1")
    assert outcome.code == 0, outcome.err
    folders = [path.parent.relative_to(tmp_path / "runs" / "patch").parts for path in tmp_path.rglob("offline-run-*")]
    assert [parts[1:] for parts in folders] == [("wandb",)]


@pytest.mark.long
def test_a_sweep_that_goes_on_has_one_summary(sweep, tmp_path):
    for _ in range(2):
        assert sweep("-m", "tracker.runs=sweep", "task.n=4", "intervention.layer=0,all").code == 0
    summaries = list(tmp_path.rglob("offline-run-*"))
    assert len(summaries) == 2
    assert len({path.name.split("-")[-1] for path in summaries}) == 1  # its id


@pytest.mark.long
def test_what_is_done_and_was_never_sent_is_sent_once(sweep, tmp_path, monkeypatch):
    """As after a kill between the two, or while W&B could not be reached."""
    grid = ("-m", "task.n=4", "intervention.layer=0,1")
    plain = wandb.init
    monkeypatch.setattr(wandb, "init", lambda **settings: (_ for _ in ()).throw(ConnectionError("no route")))
    assert sweep(*grid).out.count("W&B failed") == 3
    monkeypatch.setattr(wandb, "init", plain)
    for _ in range(2):
        assert sweep(*grid).out.count("is done already") == 2
        assert all(len(list((run / "wandb").glob("offline-run-*"))) == 1 for run in run_folders(tmp_path))
        for run in run_folders(tmp_path):
            assert inspect(run)["summary"]["recovery_by_head"]["_type"] == "image-file"
            assert (tmp_path / json.loads((run / "wandb.json").read_text())["run"]).is_dir()


@pytest.mark.long
def test_runs_that_are_taken_over_are_in_the_group_of_their_sweep(sweep, tmp_path):
    assert sweep("-m", "tracker=none", "task.n=4", "intervention.layer=0,1", "name=heads").code == 0
    outcome = sweep("-m", "task.n=4", "intervention.layer=1,2", "name=heads")
    assert "1 of them taken from earlier runs" in outcome.out
    runs = [run for run in run_folders(tmp_path) if (run / "wandb").exists()]
    assert len(runs) == 2
    for run in runs:
        (record,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
        assert f"heads {run.parent.name}".encode() in record.read_bytes()


def test_a_run_alone_is_tracked_in_any_case(sweep, tmp_path):
    assert "W&B: offline" in sweep("tracker.runs=sweep", "task.n=4", "intervention.layer=0").out
