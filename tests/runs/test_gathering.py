"""From runs to measurements of single sites, of bests, and of whole runs."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.runs.gathering import Gathering
from ioi_lab.runs.measurements import is_tested
from ioi_lab.runs.reading import read_run
from ioi_lab.runs.table import table_of

ROWS = "component,layer,head,recovery,recovery_low,recovery_high,p_adjusted\n"


@pytest.fixture
def gathering(leave, tmp_path):
    """A run with one site, and one with two."""
    folders = []
    for number, heads in enumerate(([0], [0, 1])):
        metrics = {"best_recovery": 0.5, "clean_accuracy": 0.9, "best_p_adjusted": 0.01, "n_found": number}
        folder = leave(f"now/{number}", {"intervention.layer": number, "task.seed": number}, **metrics)
        rows = [f"z,{number},{head},0.{head + 1},0.0,0.3,0.2\n" for head in heads]
        (folder / "results.csv").write_text(ROWS + "".join(rows))
        folders.append(folder)
    records = [read_run(folder) for folder in folders]
    return Gathering(table_of(records, tmp_path), records, ["intervention.layer", "task.seed"])


def test_bests_and_single_sites_are_kept_apart(gathering):
    single, best, sites = gathering.measured("best_recovery")
    assert (single.metric, list(single.table["of_run"]), single.of) == ("recovery", [0], "")
    assert (best.metric, list(best.table["of_run"]), best.of) == ("best_recovery", [1], "each run's best of 2 sites")
    assert list(sites.table["value"]) == [0.1, 0.2]
    assert list(sites.keys) == ["head"]


def test_a_column_is_of_sites_and_a_metric_of_the_whole_run(gathering):
    (sites,) = gathering.measured("recovery")
    assert len(sites.table) == 3
    assert list(sites.keys) == ["layer", "head"]
    assert list(sites.replicates) == ["seed"]
    assert sites.labels == {"layer": "intervention.layer", "seed": "task.seed"}
    (whole,) = gathering.measured("clean_accuracy")
    assert list(whole.table["value"]) == [0.9, 0.9]
    assert (whole.unedited, whole.is_effect) == ((), False)


def test_recovery_is_a_change_and_effects_that_were_not_found_have_no_p_value_below_1(gathering):
    best = gathering.of_runs("best_recovery", [0, 1])
    assert best.unedited == ("the unedited corrupted run",)
    assert best.is_effect
    assert list(best.table["p_adjusted"]) == [1.0, 0.01]


@pytest.mark.parametrize(("column", "values"), [("method", ("eap", "exact")), ("edges", (10, 20))])
def test_no_row_of_a_run_is_left_out(leave, tmp_path, column, values):
    """Rows that no known column tells apart have their numbers as a key."""
    folders = [leave(f"now/{number}", {"task.n": number}, circuit_faithfulness=0.5) for number in (1, 2)]
    for folder in folders:
        rows = "".join(f"{value},{0.1 * (1 + row)}\n" for row, value in enumerate(values))
        (folder / "results.csv").write_text(f"{column},faithfulness\n{rows}")
    records = [read_run(folder) for folder in folders]
    (sites,) = Gathering(table_of(records, tmp_path), records, ["task.n"]).measured("faithfulness")
    assert len(sites.table) == 4
    assert list(sites.keys) == ["n", "method" if column == "method" else "row"]


def test_tests_of_the_logit_difference_say_nothing_of_other_metrics(gathering):
    assert np.isnan(gathering.of_runs("best_accuracy", [0, 1]).table["p_adjusted"]).all()
    assert list(gathering.of_sites("recovery", [1]).table["p_adjusted"]) == [0.2, 0.2]
    assert np.isnan(gathering.of_sites("layer", [1]).table["p_adjusted"]).all()


def test_tests_are_about_the_metric_of_the_run(leave):
    record = read_run(leave("now/0", {"intervention.metric": "kl"}))
    assert [is_tested(record, metric) for metric in ("best_recovery_kl", "recovery_kl", "recovery")] == [
        True,
        True,
        False,
    ]
