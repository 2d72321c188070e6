"""The runs of a folder as points."""

from __future__ import annotations

import pytest

from ioi_lab.dashboard.sweep_data import NONE, Choice, SweepData, sweeps_of
from ioi_lab.runs.nulls import Unedited


@pytest.fixture
def sweep(leave, index_of):
    """Layers × methods × seeds: the metric is 10 · layer + seed, by the second method negative."""

    def sweep(folder="sweep/now"):
        number = 0
        for layer in (0, 2, 10):
            for sign, method in ((1, "mean"), (-1, "pca")):
                for seed in (0, 1):
                    value = sign * (10 * layer + seed)
                    typed = {"intervention.layer": layer, "intervention.method": method, "seed": seed}
                    bounds = {"effect_low": value - 0.5, "effect_high": value + 0.5}
                    run = leave(f"sweep/now/{number}", typed, effect=value, **bounds)
                    number += 1
        (run.parent / "multirun.yaml").write_text("{}")
        leave("sweep/now/99", {"intervention.layer": 99}, status="failed", error="layer: got 99")
        leave("elsewhere", {"intervention.layer": 5})
        return SweepData.read(index_of(), folder)

    return sweep


def test_keys_are_those_in_which_runs_differ(sweep):
    data = sweep()
    assert data.keys == ["intervention.layer", "intervention.method", "seed"]
    assert len(data.entries) == 13
    assert len(data.rows) == 12
    assert data.metrics[0] == "best_recovery"
    assert "effect" in data.metrics
    assert "effect_low" not in data.metrics


def test_numbers_become_x_and_seeds_are_replicates(sweep):
    data = sweep()
    assert data.choice(metric="effect") == Choice("intervention.layer", "intervention.method", NONE, "effect")
    assert data.choice("seed", NONE, "intervention.method", "none") == Choice(
        "seed", NONE, "intervention.method", "best_recovery"
    )
    assert data.choice(line="no such key").line == "intervention.method"


def test_replicates_are_means_from_the_lowest_to_the_highest(sweep):
    data = sweep()
    choice = data.choice(metric="effect")
    points = [point for point in data.points(choice) if point.line == "pca"]
    assert [point.x for point in points] == [0, 2, 10]
    assert [(point.value, point.low, point.high) for point in points] == [
        (-0.5, -1, 0),
        (-20.5, -21, -20),
        (-100.5, -101, -100),
    ]
    assert data.pooled(choice) == ["seed"]
    assert points[0].folders == ("sweep/now/2", "sweep/now/3")
    assert sum(len(point.folders) for point in data.points(choice)) == 12


def test_single_runs_have_their_own_interval(sweep):
    data = sweep()
    choice = data.choice("intervention.layer", "intervention.method", "seed", "effect")
    point = next(point for point in data.points(choice) if point.folders == ("sweep/now/5",))
    assert (point.x, point.line, point.facet, point.value, point.low, point.high) == (2, "mean", "1", 21, 20.5, 21.5)
    assert data.pooled(choice) == []


def test_the_steps_of_studies_are_no_runs_of_their_sweep(leave, index_of):
    for number, model in enumerate(("tiny-gpt2", "tiny-pythia")):
        leave(f"studies/{number}", {"model.name": model}, does_task=1.0)
        leave(f"studies/{number}/01-heads")
    index = index_of()
    data = SweepData.read(index, "studies")
    assert sorted(entry.folder for entry in data.entries) == ["studies/0", "studies/1"]
    assert data.keys == ["model.name"]
    assert len(SweepData.read(index, "studies/0").entries) == 2


def test_levels_are_in_order(sweep):
    data = sweep()
    assert data.levels("intervention.layer") == ["0", "2", "10"]
    assert data.levels("intervention.method") == ["mean", "pca"]
    assert data.levels(NONE) == [""]
    assert data.unedited("effect") == Unedited(0.0, "no effect")
    assert data.unedited("best_logit_diff") is None


def test_levels_of_the_unedited_pass_are_known(leave, index_of):
    for layer, level in ((0, -3.0), (1, -2.0)):
        leave(f"s/{layer}", {"intervention.layer": layer}, best_logit_diff=1.0, corrupted_logit_diff=level)
    data = SweepData.read(index_of(), "s")
    points = data.points(data.choice(metric="best_logit_diff"))
    assert [point.unedited for point in points] == [-3.0, -2.0]
    assert data.unedited("best_logit_diff") == Unedited(-2.5, "the unedited corrupted run")


def test_a_folder_above_has_the_runs_below(sweep):
    assert len(sweep("sweep").rows) == 12


def test_a_key_that_follows_from_the_typed_ones_is_no_key(leave, index_of):
    for number, model in enumerate(("a", "b")):
        leave(f"s/{number}", {"model.name": model, "intervention.component": f"of {model}"})
    assert SweepData.read(index_of(), "s").keys == ["model.name", "intervention.component"]
    folders = [leave(f"t/{number}", {"model.name": model}) for number, model in enumerate(("a", "b"))]
    for folder, model in zip(folders, "ab", strict=True):
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace("name: ioi", f"name: ioi\n  path: of {model}"))
    assert SweepData.read(index_of(), "t").keys == ["model.name"]


def test_runs_of_a_sweep_are_found(sweep, index_of):
    sweep()
    (jobs,) = sweeps_of(index_of().entries()).values()
    assert len(jobs) == 13
