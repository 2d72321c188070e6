"""Many runs as one table."""

from __future__ import annotations

import numpy as np
import pytest
from omegaconf import OmegaConf

from ioi_lab.errors import LabError
from ioi_lab.runs.sweeps import Sweep
from ioi_lab.runs.table import ABOUT, is_bound, load_runs


def test_runs_are_rows_with_config_and_metrics(leave, tmp_path):
    for number in (0, 2, 10):
        leave(f"sweep/now/{number}", {"intervention.layer": number}, best_recovery=number / 10)
    leave("sweep/now/11", {"intervention.layer": 11}, status="failed", error="too high")
    runs = load_runs(tmp_path)
    assert list(runs["folder"]) == [f"sweep/now/{number}" for number in (0, 2, 10, 11)]
    assert list(runs["status"]) == ["done"] * 3 + ["failed"]
    assert list(runs["intervention.layer"]) == list(runs["typed.intervention.layer"]) == [0, 2, 10, 11]
    assert list(runs["best_recovery"][:3]) == [0.0, 0.2, 1.0]
    assert np.isnan(runs["best_recovery"][3])
    assert runs["error"][3] == "too high"
    assert set(runs["intervention.names"]) == {'["a", "b"]'}


@pytest.mark.parametrize("name", ["metrics.json", "status.json", "provenance.json", "config.yaml"])
def test_a_damaged_run_is_reported_and_not_counted(leave, tmp_path, caplog, name):
    leave("sweep/now/0", {"intervention.layer": 0}, best_recovery=0.5)
    damaged = leave("sweep/now/1", {"intervention.layer": 1}, best_recovery=0.6)
    (damaged / name).write_text('{"half": ')
    runs = load_runs(tmp_path)
    assert list(runs["status"]) == ["done", "damaged"]
    assert f"the run in {damaged} is damaged" in caplog.text
    assert Sweep.read(tmp_path).is_done.tolist() == [True, False]


def test_a_folder_without_runs_is_reported(tmp_path):
    with pytest.raises(LabError, match=r"contains no runs: there is no status\.json in it or below it"):
        load_runs(tmp_path)


def test_typed_values_keep_their_types_and_prefixes_are_left_out(leave, tmp_path):
    run = leave("0", {})
    overrides = ["intervention.scale=-1.5", "+task.note=a=b", "~optimize", "++seed=3", "intervention.layer=[1,2]"]
    OmegaConf.save(overrides, run / ".hydra" / "overrides.yaml")
    row = load_runs(tmp_path).iloc[0]
    typed = {key: row[key] for key in row.index if key.startswith("typed.")}
    assert typed == {
        "typed.intervention.scale": -1.5,
        "typed.task.note": "a=b",
        "typed.optimize": "",
        "typed.seed": 3,
        "typed.intervention.layer": "[1,2]",
    }


def test_a_run_that_was_started_in_python_has_no_typed_values(leave, tmp_path):
    (leave("0", {}, best_recovery=1.0) / ".hydra" / "overrides.yaml").unlink()
    runs = load_runs(tmp_path)
    assert runs["status"].tolist() == ["done"]
    assert not [name for name in runs if name.startswith("typed.")]


def test_the_first_columns_say_which_run_it_is(leave, tmp_path):
    leave("b", {}, best_recovery=1.0)
    leave("a/10", {}, status="failed", error="no")
    leave("a/9", {}, status="running")
    runs = load_runs(tmp_path)
    about = [name for name in runs if name in ABOUT]
    assert list(runs)[: len(about)] == about == ["folder", "status", "error", "headline", "updated", "seconds"]
    assert runs["folder"].tolist() == ["a/9", "a/10", "b"]


def test_bounds_are_columns_that_belong_to_another():
    columns = ["slope", "slope_low", "slope_high", "band_low", "high"]
    assert [name for name in columns if is_bound(name, columns)] == ["slope_low", "slope_high"]
