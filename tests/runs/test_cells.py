"""Means over seeds on the axes of a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from ioi_lab.runs.axes import Axes
from ioi_lab.runs.cells import cells_of
from ioi_lab.runs.measurements import Measurements


def measured(rows, keys, seeds=()):
    table = pd.DataFrame(rows).assign(low=lambda each: each["value"] - 1, high=lambda each: each["value"] + 1)
    return Measurements("recovery", table, keys, seeds)


def test_a_single_value_keeps_its_own_interval_and_test():
    rows = [{"layer": layer, "value": float(layer), "p_adjusted": 0.5} for layer in (0, 1)]
    cells = cells_of(measured(rows, ["layer"]), Axes("layer"))
    assert cells.array("value", None, ()).tolist() == [0, 1]
    assert cells.array("low", None, ()).tolist() == [-1, 0]
    assert cells.not_found() == {(0, None, ()), (1, None, ())}


def test_seeds_give_a_mean_with_students_interval_and_test():
    values = {0: [1.0, 2.0, 4.0], 1: [-1.0, 0.5, 0.6]}
    rows = [
        {"layer": layer, "seed": seed, "value": value, "p_adjusted": np.nan}
        for layer, own in values.items()
        for seed, value in enumerate(own)
    ]
    cells = cells_of(measured(rows, ["layer"], ["seed"]), Axes("layer"))
    assert cells.n_seeds == (3, 3)
    cell = cells.cells[0, None, ()]
    low, high = t.interval(0.95, 2, np.mean(values[0]), np.std(values[0], ddof=1) / np.sqrt(3))
    assert (cell.low, cell.high) == pytest.approx((low, high))
    assert cell.p_value == pytest.approx(ttest_1samp(values[0], 0).pvalue)
    assert cell.of_seeds == (1, 2, 4)


def test_missing_cells_are_nan_and_seeds_on_an_axis_are_no_replicates():
    rows = [
        {"seed": 0, "head": 0, "value": 1.0, "p_adjusted": 0.0},
        {"seed": 1, "head": 1, "value": 2.0, "p_adjusted": 0.0},
    ]
    cells = cells_of(measured(rows, ["head"], ["seed"]), Axes("seed", "head"))
    assert cells.n_seeds == (1, 1)
    assert np.isnan(cells.array("value", 0, ())).tolist() == [False, True]


def test_without_tests_nothing_is_known():
    rows = [{"layer": 0, "value": 1.0, "p_adjusted": np.nan}]
    assert cells_of(measured(rows, ["layer"]), Axes("layer")).not_found() is None


def test_seeds_that_change_nothing_are_no_replicates():
    rows = [{"layer": 0, "seed": seed, "value": 3.0, "p_adjusted": 0.5} for seed in (0, 1)]
    cells = cells_of(measured(rows, ["layer"], ["seed"]), Axes("layer"))
    cell = cells.cells[0, None, ()]
    assert (cell.low, cell.high, cell.p_value, cell.of_seeds, cells.n_seeds) == (2, 4, 0.5, (), (1, 1))
