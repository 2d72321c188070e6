"""The sentences, table and figure of pairs of heads follow the result."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ioi_lab.interventions.transfer.head_grid_report import PairGridReport
from ioi_lab.models.heads import head_name


def report(grid):
    return PairGridReport(grid, ("tiny-gpt2", "tiny-pythia"), "Heads")


def sure(grid, low):
    """The grid with intervals that begin at `low`."""
    names = ("own", "of_best", "above_others")
    return replace(grid, **{name: replace(getattr(grid, name), low=np.full(len(grid.best), low)) for name in names})


def test_a_head_that_exceeds_mean_and_others_is_named_with_its_share(heads):
    grid = sure(heads[1].grid, 0.1)
    row = int(np.argmax(grid.of_best.value))
    answer = report(grid).answer
    assert f"Of {len(grid.replaced)} heads chosen on training prompts" in answer
    assert f"{head_name(grid.best[row])} recovers most, in the place of {head_name(grid.replaced[row])}" in answer
    assert f"({100 * grid.share_of_best.value[row]:.0f}" in answer


def test_no_share_is_printed_of_a_head_whose_own_output_adds_nothing(heads):
    assert "%" not in " ".join(report(sure(heads[1].grid, -0.1)).lines())


def test_a_null_result_of_pairs_says_so(heads):
    assert "No head that was chosen on training prompts" in report(sure(heads[1].grid, -0.1)).answer
    assert "too few prompts to test" in report(replace(heads[1].grid, not_found=None)).answer


def test_each_replaced_head_has_a_line(heads):
    grid = heads[1].grid
    lines = report(grid).lines()
    assert len(lines) == 1 + len(grid.replaced)
    assert f"{grid.n_above} of {grid.beyond.size} pairs" in lines[0]
    for row, line in enumerate(lines[1:]):
        assert line.startswith(f"  {head_name(grid.replaced[row])}: ")
        assert f"head {head_name(grid.best[row])}, the best on training prompts" in line


def test_the_table_has_all_pairs_and_the_metrics_their_numbers(heads):
    grid = heads[1].grid
    table, metrics = report(grid).table(), report(grid).metrics()
    assert len(table) == grid.beyond.size == metrics["n_pairs"]
    assert table["recovery_beyond_mean"].to_numpy() == pytest.approx(grid.beyond.ravel())
    assert table["is_found"].sum() == (~grid.not_found).sum()
    assert table["is_best_on_training_prompts"].sum() == len(grid.replaced)
    assert metrics["best_pair_beyond_mean"] == grid.of_best.value.max()


def test_the_figure_has_a_panel_per_replaced_head(heads):
    grid = heads[1].grid
    figure = report(grid).figure()
    titles = " ".join(axes.get_title() for axes in figure.axes)
    assert all(f"{head_name(head)} (own" in titles for head in grid.replaced)
    plt.close("all")
