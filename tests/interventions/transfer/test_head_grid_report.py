"""The sentences, table and figure of pairs of heads follow the result."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ioi_lab.interventions.transfer.head_grid_report import PairGridReport
from ioi_lab.interventions.transfer.head_margins import CONTROLS
from ioi_lab.models.heads import head_name


def report(grid):
    return PairGridReport(grid, ("tiny-gpt2", "tiny-pythia"), "Heads")


def sure(grid, low):
    """The grid with intervals that begin at `low`, and heads that have effects in their own model."""
    bounds = np.full(len(grid.best), low)
    raised = {name: replace(margin, low=bounds) for name, margin in grid.margins.margins.items()}
    margins = replace(grid.margins, margins=raised, idle=replace(grid.margins.idle, of_source=[]))
    own, best = (replace(estimate, low=bounds) for estimate in (grid.own, grid.of_best))
    return replace(grid, own=own, of_best=best, margins=margins)


def test_a_function_that_comes_over_is_named_with_its_share_and_what_the_place_adds(heads):
    grid = sure(heads[1].grid, 0.1)
    row = int(np.argmax(grid.of_best.value))
    answer = report(grid).answer
    assert grid.come_over[0] == row
    assert f"The function of a head comes over in {len(grid.replaced)} of {len(grid.replaced)} places" in answer
    assert f"{head_name(grid.best[row])} recovers most, in the place of {head_name(grid.replaced[row])}" in answer
    assert f"({100 * grid.share_of_best.value[row]:.0f}" in answer
    assert f"{grid.margins.margins['other_layers'].value[row]:.2f}" in answer
    assert report(grid).metrics()["n_functions_over"] == len(grid.replaced)


@pytest.mark.parametrize("control", ["mean", "zero", "others", "idle_heads", "other_prompts", "other_layers"])
def test_no_function_comes_over_without_being_above_each_control(heads, control):
    grid = sure(heads[1].grid, 0.1)
    estimate = replace(grid.margins.margins[control], low=np.full(len(grid.best), -0.1))
    unsure = replace(grid, margins=replace(grid.margins, margins=grid.margins.margins | {control: estimate}))
    assert unsure.come_over == []
    assert f"is not clearly above {CONTROLS[control]}" in report(unsure).answer
    assert report(unsure).metrics()["n_functions_over"] == 0


def test_a_head_without_effect_in_its_own_model_has_no_function_to_come_over(heads):
    grid = sure(heads[1].grid, 0.1)
    idle = replace(grid.margins.idle, of_source=list(grid.best))
    none = replace(grid, margins=replace(grid.margins, idle=idle))
    assert none.come_over == []
    assert "among the heads without effect in its own model" in report(none).answer


def test_no_share_is_printed_of_a_head_whose_own_output_adds_nothing(heads):
    assert "%" not in " ".join(report(sure(heads[1].grid, -0.1)).lines())


def test_a_null_result_of_pairs_says_so(heads):
    answer = report(sure(heads[1].grid, -0.1)).answer
    assert "The function of no head is shown to come over" in answer
    assert "the replaced head's own clean output is not clearly above its mean" in answer
    assert "too few prompts to test" in report(replace(heads[1].grid, not_found=None)).answer


def test_each_replaced_head_has_a_line(heads):
    grid = heads[1].grid
    lines = report(grid).lines()
    assert len(lines) == 1 + 2 * len(grid.replaced) + 2
    assert f"{grid.n_above} of {grid.beyond.size} pairs" in lines[0]
    for row, line in enumerate(lines[1:-2:2]):
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
    figure = report(grid).figures()["recovery_by_pair"]
    titles = " ".join(axes.get_title() for axes in figure.axes)
    assert all(f"{head_name(head)} (own" in titles for head in grid.replaced)
    plt.close("all")
