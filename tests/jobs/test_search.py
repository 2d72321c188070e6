"""Optuna's sweeper on the same entry point."""

from __future__ import annotations

import json

import pytest
from omegaconf import OmegaConf

from ioi_lab.cli.multirun import Multirun
from tests.conftest import run_folders

SEARCH = ("-m", "hparams_search=steering", "hydra/launcher=batch", "tracker=none", "figures=false")
FEW = ("hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3")


@pytest.mark.long
def test_a_search_ends_with_its_best_trial(sweep, tmp_path):
    outcome = sweep(*SEARCH, *FEW)
    assert outcome.code == 0, outcome.err
    runs = run_folders(tmp_path)
    assert len(runs) == 6
    values = {run: json.loads((run / "metrics.json").read_text())["best_efficiency"] for run in runs}
    best = max(values, key=values.__getitem__)
    told = OmegaConf.load(best.parent / "optimization_results.yaml")
    assert told.best_value == values[best]
    config = OmegaConf.load(best / "config.yaml")
    assert told.best_params["intervention.layer"] == config.intervention.layer
    assert told.best_params["intervention.scale"] == config.intervention.scale
    assert (best.parent / "plots" / "best_efficiency_by_scale_layer.png").is_file()


@pytest.mark.long
def test_the_same_search_goes_on_where_it_was(sweep, tmp_path):
    assert sweep(*SEARCH, *FEW).code == 0
    (tmp_path / run_folders(tmp_path)[5] / "status.json").unlink()
    outcome = sweep(*SEARCH, *FEW)
    assert outcome.code == 0, outcome.err
    assert "where 5 jobs are done" in outcome.out
    assert len(run_folders(tmp_path)) == 6


def test_a_search_in_other_places_lands_elsewhere(sweep, tmp_path):
    """What was typed is the same, and what a preset says is not."""
    preset = tmp_path / "mine" / "hparams_search" / "layers.yaml"
    preset.parent.mkdir(parents=True)
    command = ("--config-dir", str(tmp_path / "mine"), "-m", "hparams_search=layers", "tracker=none", "task.n=4")
    for layers, told in (("0,1", "2 runs (2 done)"), ("1,2", "2 runs (2 done, 1 of them taken from earlier runs)")):
        preset.write_text(f"# @package _global_\nhydra:\n  sweeper:\n    params:\n      intervention.layer: {layers}\n")
        outcome = sweep(*command)
        assert outcome.code == 0, outcome.err
        assert told in outcome.out


def test_a_metric_that_there_is_not(sweep):
    outcome = sweep("tracker=none", "task.n=4", "intervention.layer=0", "optimize=best_recover")
    assert outcome.code == 1
    assert "optimize: the run has no 'best_recover' (did you mean best_recovery?); it has" in outcome.error_line
    assert "best_recovery_low" not in outcome.error_line


def test_a_grid_by_a_metric_that_there_is_not(sweep):
    outcome = sweep("-m", "tracker=none", "task.n=4", "intervention.layer=0,1", "optimize=best_recover")
    assert outcome.code == 1
    assert outcome.err.count("did you mean best_recovery?") == 2
    assert "2 runs (2 done)" in outcome.out
    assert Multirun.failed == 2  # by what is in their folders, as for jobs of other processes


def test_a_search_by_a_metric_that_there_is_not(sweep):
    outcome = sweep(*SEARCH, *FEW, "optimize=nonsense")
    assert outcome.code == 1
    assert "optimize: the run has no 'nonsense'; it has" in outcome.err
    assert outcome.err.splitlines()[-1] == "error: No trials are completed yet."
