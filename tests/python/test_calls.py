"""Runs, sweeps and alignments from Python are those of the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import ioi_lab as lab
from tests.python.conftest import QUICK


def test_a_run_equals_that_of_the_command_line(demo, sweep, tmp_path):
    assert sweep("model=tiny-gpt2", "tracker=none", "task.n=8", "name=demo").code == 0
    shell = lab.load("runs/demo")
    assert shell.table.equals(demo.table)
    assert shell.summary == demo.summary
    assert shell.config == demo.config
    assert {path.name for path in shell.folder.iterdir()} == {path.name for path in demo.folder.iterdir()}


def test_runs_are_found_by_their_names(tmp_path):
    first = lab.run(name="a", figures=False, **QUICK)
    second = lab.run(name="a", figures=False, seed=1, **QUICK)
    assert first.folder.parent == Path("runs/a")
    assert lab.load("runs/a").folder == lab.load().folder == second.folder
    assert lab.load(first.folder).table.equals(first.table)
    assert len(lab.load_runs()) == 2
    with pytest.raises(lab.LabError, match="'runs/b' is not a run folder"):
        lab.load("runs/b")


def test_a_run_works_inside_an_event_loop(tmp_path):
    """As in a notebook."""

    async def cell():
        return lab.run(figures=False, **QUICK)

    assert asyncio.run(cell()).metrics["clean_accuracy"] == 1.0


def test_a_run_reads_an_earlier_one_by_its_name(demo, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(demo.folder.parent)
    run = lab.run(intervention={"name": "attention", "heads": "top", "from_run": "runs/demo"}, figures=False, **QUICK)
    assert run.config["intervention"]["from_run"] == str(demo.folder)


def test_a_sweep_goes_on_where_it_ended(tmp_path, capfd):
    keys = {"intervention": {"layer": lab.grid(0, 3)}, "name": "layers", **QUICK}
    sweep = lab.sweep(figures=False, **keys)
    assert sweep.table["intervention.layer"].tolist() == [0, 3]
    assert list(sweep.figures) == ["best_recovery_by_layer", "recovery_by_layer_head"]
    assert [run.table["layer"].unique().tolist() for run in sweep.runs] == [[0], [3]]
    capfd.readouterr()
    again = lab.sweep(figures=False, **keys)
    assert again.folder == sweep.folder
    assert "2 jobs are done" in capfd.readouterr().out
    assert lab.load_sweep(sweep.folder).table.equals(again.table)
    with pytest.raises(lab.LabError, match="is the folder of a sweep"):
        lab.load(sweep.folder)


def test_jobs_that_fail_do_not_stop_the_others(tmp_path, capfd):
    sweep = lab.sweep("intervention.layer=0,7", figures=False, **QUICK)
    assert sweep.table["status"].tolist() == ["done", "failed"]
    assert "intervention.layer: got 7" in capfd.readouterr().err


def test_models_are_aligned(tmp_path):
    run = lab.align(corpus={"n": 60}, tracker="none", alignment={"source_layers": [3], "target_layers": [3]})
    assert run.summary[0] == "align (ridge map) · tiny-gpt2 · tiny-pythia"
    assert (run.folder / "maps.safetensors").is_file()


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"modle": "tiny-gpt2"}, "modle: no such key (did you mean model?); expected one of model, task, "),
        ({"model": "tiny-gpt3"}, "model: got 'tiny-gpt3' (did you mean tiny-gpt2?), expected one of "),
        ({"intervention": {"name": "steer", "layr": 1}}, "intervention.layr: no such key (did you mean intervention."),
        ({"task": {"n": "many"}}, "task.n: got 'many', expected a valid integer"),
        ({"intervention": {"name": "attention", "from_run": "x"}}, "intervention.from_run: 'x' is not a run folder"),
        ({"source": "tiny-gpt2"}, "source: this is a key of "),
    ],
)
def test_a_mistake_is_the_line_of_the_command_line_and_leaves_no_folder(keywords, line, tmp_path):
    with pytest.raises(lab.LabError) as error:
        lab.run(**{"tracker": "none", **keywords})
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("status.json"))


def test_several_values_belong_to_a_sweep(tmp_path):
    with pytest.raises(lab.LabError, match=r"use lab\.sweep for one run per value"):
        lab.run("seed=0,1", tracker="none")


@pytest.mark.long
def test_a_study_is_a_run_with_a_row_per_step(tmp_path, capfd):
    study = lab.study("study.steps=[baseline,attribution]", figures=False, **QUICK)
    assert study.table["step"].tolist() == ["baseline", "attribution"]
    step = lab.load(study.folder / "02-attribution")
    assert step.metrics["sum_of_terms"] == pytest.approx(step.metrics["clean_logit_diff"], abs=1e-4)
    capfd.readouterr()
    assert lab.study("study.steps=[baseline,attribution]", figures=False, **QUICK).folder == study.folder
    with pytest.raises(lab.LabError, match=r"^study\.steps: got 'foo'"):
        lab.study("study.steps=[foo]", **QUICK)
